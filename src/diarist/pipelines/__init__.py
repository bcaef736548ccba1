"""Ways to walk the rooms: offline now, streaming and end-to-end later."""
