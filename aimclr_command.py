"""The console command ``aimclr``, outside of the package, whose import takes seconds."""

import signal


def main() -> None:
    """Run :func:`aimclr_mm.apis.console.main`; Ctrl-C ends its imports without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from aimclr_mm.apis import console

    console.main()
