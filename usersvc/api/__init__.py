"""The HTTP face: parse, call one service function, present the result."""
