"""The operator's face: parse, call one service function, present the result."""
