"""One person, many recordings: a gallery of enrolled voices, names for the voices of a recording, the same voice found
again across recordings.

Everything here is opt-in: nothing is kept of anybody unless somebody asks for it.
"""
