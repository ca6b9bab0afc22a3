"""Published networks that compare two dates, written anew from their papers."""
