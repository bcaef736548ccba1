"""Many live streams over web sockets, on one model: the protocol is `docs/protocol/asyncapi.yaml`."""
