"""The documentation: links resolve, commands parse, code blocks run as printed.

Every ``bash``, ``python`` and ``yaml`` block of README.md, CONTRIBUTING.md and docs/ is in one of
the tables RUN and NOT_RUN, or its page has a test of its own.
"""

import io
import re
import shutil
import zipfile
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.io import savemat

from tests.datasets.readers.test_ntu import skeleton_file
from tests.docs_runner import ROOT, Block, Folder, blocks, make_project, pages, parse

# page -> first lines of the blocks that are run, all in one folder, in this order; None: all blocks
RUN = {
    'docs/getting_started.md': ['python tools', 'python -m zipfile', 'import numpy', 'mkdir'],
    'docs/index.md': ['python tools', 'from aimclr_mm'],
    'docs/protocols.md': ['python tools/train.py configs/aimclr_utdmhad'],
    'README.md': ['python tools/prepare_data.py ntu60'],
    'docs/datasets.md': [
        '# my_layout',
        'python tools/prepare_data.py custom',
        '# my_config',
        'python tools/prepare_data.py folders',
    ],
    'docs/design.md': None,
}
# options that make commands short, by the beginning of the command
REDUCTIONS = {
    'python tools/train.py configs/aimclr_utdmhad': '--epochs 1 --cfg-options '
    'train_dataloader.batch_size=27 train_dataloader.dataset.fraction=0.1',
    'python tools/train.py configs/aimclr_ntu60': '--epochs 1 --no-validate --cfg-options '
    'train_dataloader.batch_size=4 model.queue_length=8',
    'python tools/test.py configs/aimclr_ntu60': '--cfg-options test_dataloader.num_workers=0 '
    'test_dataloader.persistent_workers=False',
    'python tools/train.py': '--epochs 1',
    'python tools/prepare_data.py samples': '--subjects 4 --cameras 1',
    'python tools/prepare_data.py': '--workers 1',
}
# checkpoints of full-length trainings that the printed commands expect
CHECKPOINTS = [
    'work_dirs/first/epoch_60.pth',
    'work_dirs/utd_seed0/epoch_240.pth',
    'work_dirs/aimclr_ntu60_xsub_joint/epoch_300.pth',
]

OTHER_TEST = 'has a test of its own: '
NOT_RUN = {  # page -> {first line of a block: why it is not run}; commands are parsed all the same
    'README.md': {
        'python tools/prepare_data.py samples': 'as in docs/index.md, and in test_console.py',
        'from aimclr_mm.apis': 'the same lines as those of docs/index.md, which are run',
        'make demo': 'takes minutes; CI runs make demo and make test',
        'python tools/test.py configs': OTHER_TEST + 'test_shipped.py, test_warping.py',
        'python tools/train.py CONFIG': OTHER_TEST + 'test_protocol_commands.py',
    },
    'CONTRIBUTING.md': {'make test': 'CI runs make test, lint and test-slow'},
    'docs/getting_started.md': {
        'make test': 'CI runs it',
        'make demo': 'CI runs it',
        'source': 'the shell of the reader',
    },
    'docs/datasets.md': {
        'python tools/prepare_data.py NAME': 'synopsis',
        'python tools/prepare_data.py ntu60': OTHER_TEST + 'test_ntu.py',
        'python tools/prepare_data.py pku_mmd_v1': OTHER_TEST + 'test_pku_mmd.py',
        'python tools/prepare_data.py utd_mhad': 'run in getting_started.md',
        'python tools/prepare_data.py nw_ucla': OTHER_TEST + 'test_nw_ucla.py',
        'python tools/prepare_data.py msr_action3d': OTHER_TEST + 'test_msr_action3d.py',
        'python tools/prepare_data.py official': OTHER_TEST + 'test_prepare_command.py',
        'python tools/prepare_data.py mmaction2': OTHER_TEST + 'test_prepare_command.py',
        'python tools/prepare_data.py padded': OTHER_TEST + 'test_padded.py',
        'python tools/benchmark.py': 'a measurement; test_benchmark.py',
    },
    'docs/protocols.md': {
        'python tools/test.py configs/aimclr_utdmhad': OTHER_TEST
        + 'test_shipped.py, test_mapping.py, test_released_encoders.py',
        'python tools/train.py configs/aimclr_ntu60': OTHER_TEST + 'test_protocol_commands.py',
        'python tools/test.py CONFIG': OTHER_TEST + 'test_protocol_commands.py',
        'python tools/analyze.py fuse': OTHER_TEST
        + 'test_protocol_commands.py, test_embedding.py, test_knn_curve.py',
        'python tools/train.py CONFIG': OTHER_TEST + 'test_protocol_commands.py',
        'python tools/export.py from_released': OTHER_TEST + 'test_convert_weights.py',
        'python tools/prepare_data.py mmaction2': OTHER_TEST + 'test_released_encoders.py',
        'python tools/reproduce.py': OTHER_TEST + 'test_reproduce.py',
    },
    'docs/methods.md': {
        'python tools/train.py': OTHER_TEST + 'test_methods.py',
        '# continued.py': OTHER_TEST + 'test_released_encoders.py',
        'OMP_NUM_THREADS=1 python tools/reproduce.py': OTHER_TEST + 'test_reproduce.py',
        'python tools/prepare_data.py mmaction2': OTHER_TEST + 'test_released_encoders.py',
    },
    'docs/encoders.md': {
        'from aimclr_mm.apis': OTHER_TEST + 'test_shipped.py',
        'import numpy as np': OTHER_TEST + 'test_missing_frames.py',
        'python tools/test.py configs/aimclr_utdmhad': OTHER_TEST + 'test_shipped.py',
        '# to_pictures.py': OTHER_TEST + 'test_shipped.py',
        'python to_pictures.py': OTHER_TEST + 'test_shipped.py',
        '# from_jhmdb.py': OTHER_TEST + 'test_shipped.py',
        'python from_jhmdb.py': OTHER_TEST + 'test_shipped.py',
        'python tools/prepare_data.py movements': OTHER_TEST + 'test_dataset.py, test_configs.py',
        'python tools/prepare_data.py nw_ucla': OTHER_TEST + 'test_nw_ucla.py, test_leveling.py',
        'OMP_NUM_THREADS=1 python tools/train.py': 'minutes; test_dataset.py, test_configs.py',
    },
    'docs/robustness.md': {
        'python tools/train.py CONFIG --resume': OTHER_TEST + 'test_commands.py, test_kill.py'
    },
    'docs/faq.md': {
        'python tools/test.py CONFIG': OTHER_TEST + 'test_commands.py',
        'bash tools/dist_train.sh': 'needs GPUs; two processes: test_commands.py',
    },
}
# pages that are in neither table, and whose blocks another test runs: one that names the page
OTHERS = ''.join(
    path.read_text(encoding='utf-8')
    for path in ROOT.glob('tests/**/test_*.py')
    if path != Path(__file__)
)


def has_own_test(page: str) -> bool:
    """Whether another test is about the page."""
    return page not in RUN and page not in NOT_RUN and Path(page).name in OTHERS


def is_run(block: Block) -> bool:
    """Whether the block is in the first table."""
    beginnings = RUN.get(block.page, [])
    return (
        block.page in RUN
        and (beginnings is None or block.text.startswith(tuple(beginnings)))
        and not why_not(block)
    )


def why_not(block: Block) -> str | None:
    """The reason of the second table; the most precise beginning counts."""
    found = [begin for begin in NOT_RUN.get(block.page, {}) if block.text.startswith(begin)]
    return NOT_RUN[block.page][max(found, key=len)] if found else None


BLOCKS = [
    block
    for page in pages()
    for block in blocks(page)
    if block.language in ('bash', 'python', 'yaml')
]


def test_every_block_is_run_or_listed():
    unknown = [
        str(block)
        for block in BLOCKS
        if not is_run(block) and not why_not(block) and not has_own_test(block.page)
    ]
    assert not unknown, 'neither run nor listed in tests/docs/test_docs.py:\n' + '\n'.join(unknown)


def test_tables_name_blocks_that_are_there():
    for table in (RUN, NOT_RUN):
        for page, beginnings in table.items():
            for begin in beginnings or ():
                assert any(
                    block.page == page and block.text.startswith(begin) for block in BLOCKS
                ), (page, begin)


def test_readme_begins_as_the_site_does():
    first, second = (
        [b.text for b in BLOCKS if b.page == page and b.language == 'python']
        for page in ('README.md', 'docs/index.md')
    )
    assert first[:1] == second[:1]


@pytest.mark.parametrize(
    'page', sorted({block.page for block in BLOCKS if block.language == 'bash'})
)
def test_commands_are_understood(page, tmp_path, monkeypatch, capsys):
    """Every printed command of a tool parses, and every script exists."""
    monkeypatch.chdir(tmp_path)
    for block in BLOCKS:
        if block.page != page or block.language != 'bash' or why_not(block) == 'synopsis':
            continue
        for words in block.words():
            tool = next((word for word in words if word.startswith('tools/')), None)
            assert tool is None or (ROOT / tool).is_file(), f'{block}: {tool} does not exist'
            if words[0] == 'python' and tool == words[1]:
                try:
                    parse(words)
                except SystemExit:
                    pytest.fail(f'{block}: {" ".join(words)}: {capsys.readouterr().err[-300:]}')


# links

MARKDOWN = [*sorted(ROOT.glob('*.md')), *sorted(ROOT.glob('docs/**/*.md'))]
LINK = re.compile(r'!?\[[^\]]*\]\(([^)\s]*)\)')


def prose(path: Path) -> str:
    """The text of a page without its blocks and the text in backquotes."""
    return re.sub(
        r'`[^`\n]*`',
        '``',
        re.sub(r'^```.*?^```$', '', path.read_text(encoding='utf-8'), flags=re.M | re.S),
    )


def anchors(path: Path) -> set[str]:
    """Names of the headings as GitHub makes them."""
    text = re.sub(r'^```.*?^```$', '', path.read_text(encoding='utf-8'), flags=re.M | re.S)
    found = []
    for title in re.findall(r'^#+ (.*)$', text, re.M):
        title = re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', title).strip().lower()
        name = re.sub(r'[^\w\- ]', '', title).replace(' ', '-')
        found.append(name if name not in found else f'{name}-{found.count(name)}')
    return set(found)


@pytest.mark.parametrize('path', MARKDOWN, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path):
    """Files and anchors exist; addresses of other sites are only looked at."""
    for target in LINK.findall(prose(path)):
        if re.match(r'\w+:', target):
            assert re.fullmatch(r'https?://[\w.-]+\.[a-z]+(/[\w./~#%?=&+-]*)?', target), (
                f'{path.name}: {target}'
            )
            continue
        file, _, anchor = target.partition('#')
        there = (path.parent / file).resolve() if file else path
        assert there.exists() and there.is_relative_to(ROOT), (
            f'{path.name}: {target} does not exist'
        )
        assert not anchor or anchor in anchors(there), f'{path.name}: {target}: no such heading'


class Tags(yaml.SafeLoader):
    """Passes over the Python names in mkdocs.yml."""


Tags.add_multi_constructor('tag:yaml.org,2002:python/', lambda loader, suffix, node: None)


def test_every_page_is_in_the_navigation():
    def leaves(item) -> list[str]:
        parts = item.values() if isinstance(item, dict) else item
        return (
            [item] if isinstance(item, str) else [leaf for part in parts for leaf in leaves(part)]
        )

    told = leaves(yaml.load((ROOT / 'mkdocs.yml').read_text(encoding='utf-8'), Tags)['nav'])  # noqa: S506
    root_pages = {f'{path.stem.lower()}.md' for path in ROOT.glob('*.md')}
    inside = {path.relative_to(ROOT / 'docs').as_posix() for path in ROOT.glob('docs/**/*.md')}
    assert inside - set(told) == set(), 'pages of docs/ that mkdocs.yml does not name'
    assert set(told) - inside - root_pages == set(), 'mkdocs.yml names pages that do not exist'
    assert root_pages - set(told) == set(), 'pages outside docs/ that mkdocs.yml does not name'


def test_fault_table_names_existing_tests():
    """Every test file and function that docs/robustness.md refers to exists."""
    files = list(ROOT.glob('tests/**/test_*.py'))
    existing = {path.stem for path in files}
    for path in files:
        existing.update(re.findall(r'def (test_\w+)', path.read_text(encoding='utf-8')))

    text = (ROOT / 'docs/robustness.md').read_text(encoding='utf-8')
    named = {
        name
        for code in re.findall(r'`([^`\n]*)`', text)
        for name in re.findall(r'\btest_\w+', code)
    }
    assert len(named) > 50 and not named - existing


# running


def made_up_archive(path: Path) -> None:
    """Write Skeleton.zip: 12 frames, each action once, some of people 1 and 2 four times."""
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path, 'w') as archive:
        for action in range(1, 28):
            for subject in range(1, 9):
                for trial in range(1, 5 if action in (3, 4, 22, 27) and subject < 3 else 2):
                    motion = (
                        rng.normal(size=(20, 3, 12)).cumsum(axis=2) / 10
                        + action * rng.normal(size=(20, 3, 1)) / 9
                    )
                    savemat(content := io.BytesIO(), dict(d_skel=motion))
                    archive.writestr(
                        f'Skeleton/a{action}_s{subject}_t{trial}_skeleton.mat', content.getvalue()
                    )


def made_up_ntu(path: Path) -> None:
    """Eight recordings in NTU RGB+D's format: two actions by a training and a test subject."""
    with zipfile.ZipFile(path, 'w') as archive:
        for action, subject, repetition in product((1, 2), (1, 3), (1, 2)):
            name = f'S001C001P{subject:03}R{repetition:03}A{action:03}.skeleton'
            frames = [[action, repetition]] * (6 + subject)
            archive.writestr(f'nturgb+d_skeletons/{name}', skeleton_file(frames))


def made_up_recordings(folder: Path) -> None:
    """The recordings of docs/datasets.md, of 10 joints: a manifest, and a folder for each class."""
    rng, rows = np.random.default_rng(1), ['path,label,split,subject']
    for number in range(48):
        label, part = (
            ('walk', 'jump')[number % 2],
            ('train', 'train', 'train', 'val')[number // 2 % 4],
        )
        np.save(folder / f'{number}.npy', rng.normal(size=(8, 10, 3)))
        rows.append(f'{number}.npy,{label},{part},{number % 4 + 1}')
        (folder / label).mkdir(exist_ok=True)
        np.savetxt(folder / label / f'c_s{number:02}.txt', rng.normal(size=(4, 30)))
    (folder / 'manifest.csv').write_text('\n'.join(rows))


def stand_in(folder: Path) -> None:
    """The checkpoint of a shortened training under the name of that of the whole one."""
    for name in CHECKPOINTS:
        made = folder / Path(name).parent / 'epoch_1.pth'
        if made.exists() and not (folder / name).exists():
            shutil.copy(made, folder / name)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_pages_run_as_printed(tmp_path):
    """The commands of the first pages, in order, print what the pages show, except for numbers."""
    project = Folder(make_project(tmp_path), REDUCTIONS, after=stand_in)
    made_up_archive(tmp_path / 'Skeleton.zip')
    printed = {}
    made_up_ntu(tmp_path / 'nturgbd_skeletons_s001_to_s017.zip')
    for page in ('docs/getting_started.md', 'docs/index.md', 'docs/protocols.md', 'README.md'):
        for block in filter(is_run, blocks(ROOT / page)):
            printed[str(block)] = project.run(block)
    text = ''.join(printed.values())
    for line in (
        'data/utdmhad/utdmhad_3d.pkl:',
        'linear/best_top1: ',
        'gallery.npz: ',
        '   5  ',
        'classifier: gestures.npz',
        'examples: clap 4, jog 4, squat 4, wave 4',
        'new/a22_s2_t1_skeleton',
    ):
        assert line in text, line
    assert (tmp_path / 'result.json').exists() and (
        tmp_path / 'work_dirs' / 'first' / 'training.png'
    ).exists()


@pytest.mark.slow
def test_own_recordings_run_as_printed(tmp_path):
    project = Folder(make_project(tmp_path), REDUCTIONS)
    (tmp_path / 'recordings').mkdir()
    made_up_recordings(tmp_path / 'recordings')
    own = [block for block in blocks(ROOT / 'docs/datasets.md') if is_run(block)]
    for block in sorted(
        own, key=lambda block: block.file is None
    ):  # the page shows the config after its use
        project.run(block)
    assert list((tmp_path / 'work_dirs' / 'my_config').glob('epoch_1.pth'))


@pytest.mark.slow
def test_examples_of_the_design_page_run(tmp_path):
    project = Folder(make_project(tmp_path), REDUCTIONS)
    sizes = 'synthetic --subjects 4 --cameras 1 --repetitions 3 --workers 1'
    project.tool('prepare_data.py', sizes.split(), tmp_path / 'made.log')
    for block in filter(is_run, blocks(ROOT / 'docs/design.md')):
        project.run(block)
    assert list(tmp_path.glob('work_dirs/*my_augmentation_my_backbone/epoch_1.pth'))
