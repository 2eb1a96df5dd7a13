"""``python -m feedd``."""

from feedd.cli import main

if __name__ == "__main__":
    main()
