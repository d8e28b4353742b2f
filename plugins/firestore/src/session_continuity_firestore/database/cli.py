"""x"""


def add_commands(app):
    pass
