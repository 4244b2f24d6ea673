"""`python -m pdm`: the same as the command `pdm`."""

from pdm.cli import main

if __name__ == "__main__":
    main()
