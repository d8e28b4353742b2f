"""`python -m session_continuity`: the command line."""

from session_continuity.cli import main

if __name__ == "__main__":
    main()
