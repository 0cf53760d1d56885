"""Records in the forms that other tools read: each format is a function from records to files.

Nothing is computed here. What a form has no place for is refused by name, never left out.
"""
