"""The console command ``aimclr``: the tools of the project from any folder.

    aimclr prepare folders recordings --layout ntu25 --out data/mine.pkl
    aimclr embed CONFIG CHECKPOINT recordings/ --out gallery.npz
    aimclr VERB --help

`aimclr VERB ...` is `python tools/TOOL.py ...` of the checkout, with the same arguments. A config
configs/... that is not in the current folder is taken from the package.
"""

from __future__ import annotations

import os
import runpy
import sys

from aimclr_mm.utils.project import project_folder
from aimclr_mm.version import __version__

VERBS = {  # verb -> tool with its first arguments, description
    'prepare': ('prepare_data.py', 'make an annotation file of original files or of your own'),
    'train': ('train.py', 'pre-train an encoder, or train a classifier on one'),
    'test': ('test.py', 'evaluate encoders and classifiers'),
    'embed': ('embed.py embed', 'embed recordings'),
    'search': ('embed.py search', 'find similar recordings'),
    'few_shot': ('embed.py few_shot', 'classify recordings from a few examples'),
    'predict': ('embed.py predict', 'predict the classes of recordings'),
    'analyze': ('analyze.py', 'draw curves and embeddings, write a report'),
    'visualize': ('visualize.py', 'draw recordings, augmentations, neighbors'),
    'export': ('export.py', 'export an encoder, convert weights'),
}


def usage() -> str:
    """Return the help text of the command."""
    lines = [f'  {verb:<12}{text}' for verb, (_, text) in VERBS.items()]
    return '\n'.join(['usage: aimclr VERB ...', '', __doc__, 'verbs:', *lines])


def main() -> None:
    """Run the tool of the verb on the command line."""
    verb, *arguments = sys.argv[1:] or ['--help']
    if verb in ('-h', '--help'):
        print(usage())
        return
    if verb == '--version':
        print(f'aimclr_mm {__version__}')
        return

    name = verb.replace('-', '_')
    if name not in VERBS:
        sys.exit(f'error: aimclr has no verb {verb!r}; known are {", ".join(VERBS)}')
    tool, *first = VERBS[name][0].split()
    path = os.path.join(project_folder(), 'tools', tool)
    # as printed in usage messages of the tool
    sys.argv = ['aimclr' if first else f'aimclr {verb}', *first, *arguments]
    runpy.run_path(path, run_name='__main__')


if __name__ == '__main__':
    main()
