"""Plan a table of the paper: the jobs that fill it, and the result file of each number.

Planning neither reads nor writes files. The name of a job is its folder in the work directory and
holds everything that changes its result, so tables share runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .jobs import Job, Options, Plan, Source, Training
from .published import Column, Recipe, Row, Table

METHODS = {
    'aimclr': (),
    'skeletonclr': ('configs/methods/skeletonclr.py',),
    'crosclr': ('configs/methods/crosclr.py',),
    'aimclr_cross': ('configs/methods/aimclr_cross.py',),
    'hiclr': ('configs/methods/hiclr.py',),
    'pstl': ('configs/methods/pstl.py',),
    'skelemix': ('configs/methods/skeletonclr.py', 'configs/methods/skelemix.py'),
    'aimclr_skelemix': ('configs/methods/skelemix.py',),
    'aimclr_pp': ('configs/methods/aimclr_pp.py',),
    'actclr': ('configs/methods/actclr.py',),
    'ea': ('configs/ablations/ea.py',),
    'na_ea': ('configs/ablations/na_ea.py',),
    'na_ea_eadm': ('configs/ablations/na_ea_eadm.py',),
}
SCRATCH = 'scratch'  # no pre-training: random weights
JOINT = ('crosclr', 'aimclr_cross', 'aimclr_pp')  # methods that train all streams in one run
STARTS = {'actclr': 'aimclr'}  # methods that continue a finished run of another one

# Every pre-training keeps the checkpoints that Table 3 evaluates, so that tables share runs.
KEEP = ('configs/schedules/keep_checkpoints.py',)

FINETUNE = ('configs/protocols/finetune.py',)
PROTOCOLS = {
    'finetune': FINETUNE,
    'semi': (*FINETUNE, 'configs/protocols/semi.py'),
    'supervised': FINETUNE,
}
Resolve = Callable[[str, tuple[str, ...]], Training]  # (site, overlays) -> training


@dataclass
class _Planner:
    """Collect the jobs of a table; methods add what they need and return the last job or number."""

    options: Options
    resolve: Resolve
    jobs: dict[str, Job] = field(default_factory=dict)

    def add(self, name: str, kind: str, command: Sequence[str], *rest) -> Job:
        """Add a job once; raise ValueError if another one has its name."""
        job = Job(name, kind, tuple(command), *rest)
        if self.jobs.setdefault(name, job) != job:
            raise ValueError(f'two different jobs are called {name!r}')
        return job

    def pretraining(self, site: str, method: str) -> Training:
        """Return the facts of a pre-training."""
        return self.resolve(site, METHODS[method] + KEEP)

    def folder(self, site: str, method: str, stream: str, seed: int) -> str:
        """Return the folder of a pre-training, or of runs from random weights."""
        parts = [method, *filter(None, [stream]), f'seed{seed}']
        if method == SCRATCH:
            parts += ['amp'] * self.options.amp
        else:
            parts += self.pretraining(site, method).tag + self.options.data_tags
        return f'{site}/' + '_'.join(parts)

    def train(
        self,
        name: str,
        kind: str,
        training: Training,
        seed: int,
        *,
        arguments: Sequence[str] = (),
        settings: Sequence[str] = (),
        after: tuple[str, ...] = (),
        share: float = 1.0,
    ) -> Job:
        """Add a training with more arguments and ``--cfg-options``."""
        command = ['tools/train.py', training.config, '--with', *training.overlays, *arguments]
        if training.epochs != training.full:
            command += ['--epochs', str(training.epochs)]
        if self.options.amp:
            command.append('--amp')
        command += ['--seed', str(seed), '--work-dir', f'{{work}}/{name}']
        if settings:
            command += ['--cfg-options', *settings]
        return self.add(
            name, kind, command, (f'epoch_{training.epochs}.pth',), after, training, share
        )

    def pretrain(self, site: str, method: str, stream: str, seed: int) -> Job:
        """Add the pre-training of a stream, or of all streams together for a joint method."""
        stream = '' if method in JOINT else stream
        name = self.folder(site, method, stream, seed)
        training, data = self.pretraining(site, method), self.options.data
        settings = [_stream(stream)] if stream else []
        if data != 1:
            settings += _fraction(data, 0)

        arguments, after = [], ()
        if method in STARTS:
            arguments, after = self.start_from(self.pretrain(site, STARTS[method], stream, seed))
        return self.train(
            name,
            'pre-training',
            training,
            seed,
            arguments=arguments,
            settings=settings,
            after=after,
            share=data,
        )

    @staticmethod
    def start_from(source: Job) -> tuple[list[str], tuple[str, ...]]:
        """Return the arguments of a training that starts from another one, and its inputs."""
        return ['--pretrained', source.path(source.results[0])], (source.name,)

    def evaluate(self, run: Job, epoch: int, seed: int, metrics: str = '') -> Job:
        """Add the evaluation of a checkpoint: metrics, features and scores."""
        name = f'{run.name}/eval/epoch_{epoch}'
        folder = f'{{work}}/{name}'
        command = f'tools/test.py {run.path("*.py")} {run.path(f"epoch_{epoch}.pth")} {metrics}'
        command += f' --seed {seed} --out {folder}/result.json --dump {folder}'
        command += f' --work-dir {folder}/test'  # the default would overwrite the training's config
        return self.add(
            name, 'evaluation', command.split(), ('result.json',), (run.name,), run.training
        )

    def classify(self, recipe: Recipe, site: str, stream: str, seed: int) -> Job:
        """Add a classifier, from a pre-training or random weights, and its evaluation."""
        method = recipe.method
        joint = method in JOINT
        training = self.resolve(site, PROTOCOLS[recipe.protocol])
        arguments, after = [], ()
        if method != SCRATCH:
            source = self.pretrain(site, method, stream, seed)
            arguments, after = self.start_from(source)
            arguments += ['--pretrained-stream', stream] if joint else []

        settings, share = [_stream(stream)], 1.0
        if recipe.labels is not None:
            settings += _fraction(recipe.labels, seed)
            share = recipe.labels

        base = self.folder(site, method, '' if joint else stream, seed)
        name = f'{base}/{_protocol(recipe, training, seed)}' + (f'_{stream}' if joint else '')
        run = self.train(
            name,
            'classifier',
            training,
            seed,
            arguments=arguments,
            settings=settings,
            after=after,
            share=share,
        )
        return self.evaluate(run, training.epochs, seed)

    def fuse(
        self, name: str, tests: Sequence[Job], file: str, metric: str = 'fused/top1'
    ) -> Source:
        """Add the weighted sum of the streams' scores, or KNN on the streams' features."""
        scores = [test.path(file) for test in tests]
        command = ['tools/analyze.py', 'fuse', *scores, '--out', f'{{work}}/{name}/result.json']
        self.add(name, 'fusion', command, ('result.json',), tuple(test.name for test in tests))
        return Source(name, 'result.json', metric)

    def embed(self, name: str, recipe: Recipe, tests: Sequence[Job]) -> Source:
        """Add a panel of Figure 2."""
        if recipe.method in JOINT:
            files = [tests[0].path(f'{stream}/features.npz') for stream in recipe.streams]
        else:
            files = [test.path('features.npz') for test in tests]
        command = ['tools/analyze.py', 'tsne', *files, '--out', f'{{work}}/{name}/embedding.png']
        after = tuple(dict.fromkeys(test.name for test in tests))
        self.add(name, 'picture', command, ('embedding.png', 'embedding.json'), after)
        return Source(name, 'embedding.json', 'nmi')

    def number(self, recipe: Recipe, column: Column, seed: int) -> Source:
        """Add the jobs of a number."""
        streams = recipe.streams
        together = '3s' if len(streams) > 1 else streams[0]
        name = self.folder(column.site, recipe.method, together, seed)
        if recipe.protocol in PROTOCOLS:
            return self.classifier_number(name, recipe, column.site, seed)

        epoch = self.pretraining(column.site, recipe.method).epoch_at(column.share)
        tests = []
        for stream in streams:
            run = self.pretrain(column.site, recipe.method, stream, seed)
            tests.append(self.evaluate(run, epoch, seed, '--eval knn linear'))

        if recipe.protocol == 'embedding':
            return self.embed(f'{name}/embedding/epoch_{epoch}', recipe, tests)
        if recipe.method in JOINT:
            prefix = 'fused' if len(streams) > 1 else streams[0]
            return Source(tests[0].name, 'result.json', f'{prefix}/{recipe.protocol}/top1')
        if len(streams) == 1:
            return Source(tests[0].name, 'result.json', f'{recipe.protocol}/top1')
        if recipe.protocol == 'knn':
            return self.fuse(f'{name}/knn/epoch_{epoch}', tests, 'features.npz', 'fused/knn/top1')
        return self.fuse(f'{name}/eval/epoch_{epoch}', tests, 'linear.npz')

    def classifier_number(self, name: str, recipe: Recipe, site: str, seed: int) -> Source:
        """Add the jobs of a number of a trained classifier."""
        tests = [self.classify(recipe, site, stream, seed) for stream in recipe.streams]
        if len(tests) == 1:
            return Source(tests[0].name, 'result.json', 'acc/top1')
        protocol = _protocol(recipe, tests[0].training, seed)
        return self.fuse(f'{name}/{protocol}', tests, 'classifier.npz')

    def curve(self, table: Table, site: str, seed: int) -> None:
        """Add the picture of Figure 3."""
        recipes = [row.recipe for row in table.rows]
        runs = [self.pretrain(site, recipe.method, recipe.streams[0], seed) for recipe in recipes]
        name = f'{site}/{table.key}/' + '+'.join(run.name.split('/')[1] for run in runs)
        folders = [f'{{work}}/{run.name}' for run in runs]
        names = [row.name for row in table.rows]
        command = ['tools/analyze.py', 'knn', *folders, '--names', *names]
        command += ['--out', f'{{work}}/{name}/knn_curve.png']
        self.add(name, 'picture', command, ('knn_curve.png',), tuple(run.name for run in runs))


def _stream(stream: str) -> str:
    return f'model.data_preprocessor.stream={stream}'


def _fraction(share: float, seed: int) -> list[str]:
    dataset = 'train_dataloader.dataset'
    return [f'{dataset}.fraction={share!r}', f'{dataset}.fraction_seed={seed}']


def _protocol(recipe: Recipe, training: Training, seed: int) -> str:
    """Return the name of a classifier's folder."""
    labels = [f'l{recipe.labels!r}', f'draw{seed}'] if recipe.labels is not None else []
    return '_'.join([recipe.protocol, *labels, *training.tag])


def make_plan(table: Table, columns: Sequence[Column], options: Options, resolve: Resolve) -> Plan:
    """Plan a table for some columns; all jobs of the first seed come before those of the second.

    Args:
        table: table of the paper.
        columns: see :meth:`Table.select_columns`.
        options: options of all runs.
        resolve: returns the facts of a composed config.
    """
    planner = _Planner(options, resolve)
    cells: dict[tuple[Row, Column], tuple[Source, ...]] = {}
    for seed in options.seeds:
        for column in columns:
            for row in filter(lambda row: row.recipe, table.rows):
                source = planner.number(row.recipe, column, seed)
                cells[row, column] = (*cells.get((row, column), ()), source)
        if table.key == 'fig3':
            for site in dict.fromkeys(column.site for column in columns):
                planner.curve(table, site, seed)

    pictures = tuple(job.name for job in planner.jobs.values() if job.kind == 'picture')
    epochs = {column: resolve(column.site, KEEP).epoch_at(column.share) for column in columns}
    return Plan(table, options, planner.jobs, cells, epochs, pictures)
