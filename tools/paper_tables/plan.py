"""From a table of the paper to the commands that fill it: a graph of jobs, and where in their results each number is.

Nothing here touches a file. A job's name is its folder in the work directory and holds everything that changes its
result, so that tables share runs. ``{work}`` in a command stands for the work directory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .graph import Job, Options, Plan, Source, Training
from .published import Column, Recipe, Row, Table

OVERLAYS = {
    'aimclr': (),
    'skeletonclr': ('configs/methods/skeletonclr.py',),
    'crosclr': ('configs/methods/crosclr.py',),
    'aimclr_cross': ('configs/methods/aimclr_cross.py',),
    'ea': ('configs/ablations/ea.py',),
    'na_ea': ('configs/ablations/na_ea.py',),
    'na_ea_eadm': ('configs/ablations/na_ea_eadm.py',),
}
JOINT = ('crosclr', 'aimclr_cross')  # one run trains all streams
KEEP = (
    'configs/schedules/keep_checkpoints.py',
)  # always: the runs of Table 3 are those of the other tables
FINETUNE = ('configs/protocols/finetune.py',)
PROTOCOLS = {
    'finetune': FINETUNE,
    'semi': (*FINETUNE, 'configs/protocols/semi.py'),
    'supervised': FINETUNE,
}

Resolve = Callable[[str, tuple[str, ...]], Training]  # (site, overlays) -> what is trained


@dataclass
class _Planner:
    options: Options
    resolve: Resolve
    jobs: dict[str, Job] = field(default_factory=dict)

    def add(self, job: Job) -> Job:
        """Notes a job once; a job of the same name must be the same."""
        if self.jobs.setdefault(job.name, job) != job:
            raise ValueError(f'two different jobs are called {job.name!r}')
        return job

    def base(self, site: str, method: str, stream: str, seed: int) -> str:
        """Folder of a pre-training; of what starts from random weights if ``method`` is empty."""
        parts = [method or 'scratch', *([stream] if stream else []), f'seed{seed}']
        if method:
            training = self.resolve(site, OVERLAYS[method] + KEEP)
            parts += [f'e{training.epochs}'] if training.epochs != training.full else []
            parts += [f'd{self.options.data!r}'] if self.options.data != 1 else []
        return f'{site}/' + '_'.join(parts + (['amp'] if self.options.amp else []))

    def train(
        self,
        name: str,
        kind: str,
        training: Training,
        seed: int,
        share: float,
        after: tuple[str, ...],
        arguments: tuple[str, ...],
        settings: tuple[str, ...],
    ) -> Job:
        """A training; ``settings`` are cfg-options."""
        length = ('--epochs', str(training.epochs)) if training.epochs != training.full else ()
        command = (
            'tools/train.py',
            training.config,
            '--with',
            *training.overlays,
            *arguments,
            *length,
            *(('--amp',) if self.options.amp else ()),
            '--seed',
            str(seed),
            '--work-dir',
            f'{{work}}/{name}',
            *(('--cfg-options', *settings) if settings else ()),
        )
        return self.add(
            Job(name, kind, command, (f'epoch_{training.epochs}.pth',), after, training, share)
        )

    def pretrain(self, site: str, method: str, stream: str, seed: int) -> Job:
        """Pre-training of one stream; of all streams together where the method does that."""
        stream = '' if method in JOINT else stream
        settings = (f'model.data_preprocessor.stream={stream}',) if stream else ()
        if self.options.data != 1:
            settings += (
                f'train_dataloader.dataset.fraction={self.options.data!r}',
                'train_dataloader.dataset.fraction_seed=0',
            )
        return self.train(
            self.base(site, method, stream, seed),
            'pre-training',
            self.resolve(site, OVERLAYS[method] + KEEP),
            seed,
            self.options.data,
            (),
            (),
            settings,
        )

    def evaluate(
        self, run: Job, epoch: int, seed: int, what: tuple[str, ...] = ('--eval', 'knn', 'linear')
    ) -> Job:
        """Metrics, features and scores of a checkpoint."""
        folder = f'{run.name}/eval/epoch_{epoch}'
        command = (
            'tools/test.py',
            run.path('*.py'),
            run.path(f'epoch_{epoch}.pth'),
            *what,
            '--seed',
            str(seed),
            '--out',
            f'{{work}}/{folder}/result.json',
            '--dump',
            f'{{work}}/{folder}',
            '--work-dir',
            f'{{work}}/{folder}/test',
        )  # or it would replace the config of the training
        return self.add(
            Job(folder, 'evaluation', command, ('result.json',), (run.name,), run.training)
        )

    def classify(self, recipe: Recipe, site: str, stream: str, seed: int) -> Job:
        """Training of a classifier, from a pre-training or from random weights, and its evaluation."""
        method, joint = recipe.method, recipe.method in JOINT
        training = self.resolve(site, PROTOCOLS[recipe.protocol])
        settings, arguments, after = (f'model.data_preprocessor.stream={stream}',), (), ()
        if recipe.labels is not None:
            settings += (
                f'train_dataloader.dataset.fraction={recipe.labels!r}',
                f'train_dataloader.dataset.fraction_seed={seed}',
            )
        if method:
            source = self.pretrain(site, method, stream, seed)
            arguments = ('--pretrained', source.path(source.results[0]))
            arguments += ('--pretrained-stream', stream) if joint else ()
            after = (source.name,)
        name = f'{self.base(site, method, "" if joint else stream, seed)}/{self.protocol(recipe, training, seed)}'
        run = self.train(
            name + (f'_{stream}' if joint else ''),
            'classifier',
            training,
            seed,
            1.0 if recipe.labels is None else recipe.labels,
            after,
            arguments,
            settings,
        )
        return self.evaluate(run, training.epochs, seed, ())

    @staticmethod
    def protocol(recipe: Recipe, training: Training, seed: int) -> str:
        """Name of the folder of a classifier."""
        labels = f'_l{recipe.labels!r}_draw{seed}' if recipe.labels is not None else ''
        return (
            recipe.protocol
            + labels
            + (f'_e{training.epochs}' if training.epochs != training.full else '')
        )

    def fuse(self, name: str, tests: Sequence[Job], file: str) -> Source:
        """Weighted sum of the streams' scores."""
        command = (
            'tools/fuse.py',
            *(test.path(file) for test in tests),
            '--out',
            f'{{work}}/{name}/result.json',
        )
        self.add(Job(name, 'fusion', command, ('result.json',), tuple(test.name for test in tests)))
        return Source(name, 'result.json', 'fused/top1')

    def embed(self, name: str, recipe: Recipe, tests: Sequence[Job]) -> Source:
        """One panel of Figure 2."""
        if recipe.method in JOINT:
            files = [tests[0].path(f'{stream}/features.npz') for stream in recipe.streams]
        else:
            files = [test.path('features.npz') for test in tests]
        command = ('tools/embedding.py', *files, '--out', f'{{work}}/{name}/embedding.png')
        self.add(
            Job(
                name,
                'picture',
                command,
                ('embedding.png', 'embedding.json'),
                tuple(dict.fromkeys(test.name for test in tests)),
            )
        )
        return Source(name, 'embedding.json', 'nmi')

    def number(self, recipe: Recipe, column: Column, seed: int) -> Source:
        """Plans what a number needs."""
        site, method, streams = column.site, recipe.method, recipe.streams
        together = self.base(site, method, '3s' if len(streams) > 1 else streams[0], seed)
        if recipe.protocol in PROTOCOLS:
            tests = [self.classify(recipe, site, stream, seed) for stream in streams]
            if len(streams) == 1:
                return Source(tests[0].name, 'result.json', 'acc/top1')
            run = self.protocol(recipe, tests[0].training, seed)
            return self.fuse(f'{together}/{run}', tests, 'classifier.npz')
        epoch = self.resolve(site, OVERLAYS[method] + KEEP).at(column.share)
        tests = [
            self.evaluate(self.pretrain(site, method, stream, seed), epoch, seed)
            for stream in streams
        ]
        if recipe.protocol == 'embedding':
            return self.embed(f'{together}/embedding/epoch_{epoch}', recipe, tests)
        if method in JOINT:
            prefix = 'fused' if len(streams) > 1 else streams[0]
            return Source(tests[0].name, 'result.json', f'{prefix}/{recipe.protocol}/top1')
        if len(streams) == 1:
            return Source(tests[0].name, 'result.json', f'{recipe.protocol}/top1')
        return self.fuse(f'{together}/eval/epoch_{epoch}', tests, 'linear.npz')

    def curve(self, table: Table, site: str, seed: int) -> str:
        """The picture of Figure 3; returns the name of its job."""
        runs = [
            self.pretrain(site, row.recipe.method, row.recipe.streams[0], seed)
            for row in table.rows
        ]
        name = f'{site}/{table.key}/' + '+'.join(run.name.split('/')[1] for run in runs)
        command = (
            'tools/knn_curve.py',
            *(f'{{work}}/{run.name}' for run in runs),
            '--names',
            *(row.name for row in table.rows),
            '--out',
            f'{{work}}/{name}/knn_curve.png',
        )
        return self.add(
            Job(name, 'picture', command, ('knn_curve.png',), tuple(run.name for run in runs))
        ).name


def make_plan(table: Table, columns: Sequence[Column], options: Options, resolve: Resolve) -> Plan:
    """Plans a table for some columns; the first seed of everything comes before the second.

    Args:
        table: of the paper.
        columns: see :func:`choose_columns`.
        options: of all runs.
        resolve: tells what a composed config says.
    """
    planner = _Planner(options, resolve)
    cells: dict[tuple[Row, Column], list[Source]] = {}
    pictures = []
    for seed in options.seeds:
        for column in columns:
            for row in table.rows:
                if row.recipe is not None:
                    cells.setdefault((row, column), []).append(
                        planner.number(row.recipe, column, seed)
                    )
        if table.key == 'fig3':
            pictures += [
                planner.curve(table, site, seed) for site in dict.fromkeys(c.site for c in columns)
            ]
    pictures += [
        job.name
        for job in planner.jobs.values()
        if job.kind == 'picture' and job.name not in pictures
    ]
    epochs = {column: resolve(column.site, KEEP).at(column.share) for column in columns}
    return Plan(
        table,
        options,
        planner.jobs,
        {cell: tuple(sources) for cell, sources in cells.items()},
        epochs,
        tuple(pictures),
    )
