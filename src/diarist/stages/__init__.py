"""Verbs: pure functions, array in, array out. The algorithm lives here, shared by every pipeline."""
