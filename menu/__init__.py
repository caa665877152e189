"""The menu's parts: asking, showing, drawing progress, the console. They know the use-cases, no more."""
