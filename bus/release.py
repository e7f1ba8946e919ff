"""Which release this is: for users (`bus.__version__`), and for the doctor of another machine."""

VERSION = "0.1.0"
