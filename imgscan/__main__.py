"""`python -m imgscan`: the same as the command."""

from imgscan.cli import app

if __name__ == "__main__":
    app(prog_name="imgscan")
