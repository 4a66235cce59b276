"""model-index.yml, configs/metafile.yml and CITATION.cff against configs, tables and docs."""

import re
from pathlib import Path

import pytest
import yaml
from paper_tables.published import TABLES

from aimclr_mm.utils.overlays import read_config

ROOT = Path(__file__).resolve().parents[2]
INDEX = yaml.safe_load((ROOT / 'model-index.yml').read_text())
METAFILES = {name: yaml.safe_load((ROOT / name).read_text()) for name in INDEX['Import']}
MODELS = {model['Name']: model for content in METAFILES.values() for model in content['Models']}
COLLECTIONS = {
    entry['Name']: entry for content in METAFILES.values() for entry in content['Collections']
}
PUBLISHED = 'published, Table 2 of the AimCLR paper'
README = (ROOT / 'README.md').read_text(encoding='utf-8')
METHODS = (ROOT / 'docs' / 'methods.md').read_text(encoding='utf-8')
LATER = METHODS.partition('| HiCLR |')[1] + METHODS.partition('| HiCLR |')[2].partition('\n\n')[0]


def test_every_config_is_listed():
    """Those in configs/ itself and later methods; bases and other overlays are in its folders."""
    listed = sorted(model['Config'] for model in MODELS.values())
    assert [path for path in listed if '/methods/' not in path] == sorted(
        path.relative_to(ROOT).as_posix() for path in ROOT.glob('configs/*.py')
    )
    assert [path for path in listed if '/methods/' in path] == sorted(
        f'configs/methods/{name}' for name in re.findall(r'^\| .* \| `(\w+\.py)`', LATER, re.M)
    )
    assert all(name == Path(model['Config']).stem for name, model in MODELS.items())


def test_collections_have_a_paper_and_a_page():
    assert {model['In Collection'] for model in MODELS.values()} == set(COLLECTIONS)
    for entry in COLLECTIONS.values():
        assert (ROOT / entry['README']).is_file() and entry['Paper']['Title']
        assert entry['Paper']['URL'].startswith('https://arxiv.org/abs/')


@pytest.mark.parametrize(
    'name',
    [
        'aimclr_ntu60_xsub_joint',
        'aimclr_pkummdv2_xsub_bone',
        'aimclr_utdmhad_xsub_joint',
        'aimclr_synthetic_xsub_joint',
        'aimclr_nwucla_xview_joint',
    ],
)
def test_metadata_are_those_of_the_config(name):
    cfg, told = read_config(str(ROOT / 'configs' / f'{name}.py'), []), MODELS[name]['Metadata']
    assert (
        told['Epochs'] == cfg.train_cfg.max_epochs
        and told['Batch Size'] == cfg.train_dataloader.batch_size
    )
    assert MODELS[name]['In Collection'] == cfg.model.type


def published() -> dict[str, float]:
    """Return Table 2 by the names of our configs; SkeletonCLR has none of its own."""
    table = TABLES['2']
    return {
        f'{row.recipe.method}_{column.site}_{row.recipe.streams[0]}': table.value(row, column)
        for row in table.rows
        if len(row.recipe.streams) == 1 and row.recipe.method == 'aimclr'
        for column in table.columns
    }


def test_results_are_those_of_the_paper_and_of_the_docs():
    told = {
        name: result
        for name, model in MODELS.items()
        for result in model.get('Results', ())
        if result['Source'] == PUBLISHED
    }
    assert {
        name: result['Metrics']['Top 1 Accuracy'] for name, result in told.items()
    } == published()
    measured = [
        result
        for model in MODELS.values()
        for result in model.get('Results', ())
        if not result['Source'].startswith('published')
    ]
    assert measured
    for result in measured:
        page, section = re.match(r'(.*), "(.*)"', result['Source']).groups()
        text = (ROOT / page).read_text(encoding='utf-8')
        text = text.partition(f'# {section}\n')[2].partition('\n#')[0]
        row = next(line for line in text.splitlines() if line.startswith('| pre-trained'))
        knn, linear = (float(cell.split('±')[0]) for cell in row.split('|')[2:4])
        assert result['Metrics']['Top 1 Accuracy'] == (
            linear if result['Task'].startswith('Linear') else knn
        )


def test_published_results_of_later_methods_are_in_the_docs():
    later = [model for model in MODELS.values() if '/methods/' in model['Config']]
    assert len(later) == 5
    for model in later:
        (result,) = model['Results']
        assert re.search(rf'\b{result["Metrics"]["Top 1 Accuracy"]}\b', METHODS), model['Name']
        overlay = [str(ROOT / model['Config'])]
        cfg = read_config(str(ROOT / 'configs' / 'aimclr_ntu60_xsub_joint.py'), overlay)
        told = model['Metadata']
        assert told['Epochs'] == cfg.train_cfg.max_epochs
        assert told['Batch Size'] == cfg.train_dataloader.batch_size


def test_results_are_of_the_data_that_were_trained_on():
    for name, model in MODELS.items():
        assert all(
            result['Dataset'] == model['Metadata']['Training Data']
            for result in model.get('Results', ())
        ), name


def test_citation_is_that_of_the_readme():
    cited = yaml.safe_load((ROOT / 'CITATION.cff').read_text(encoding='utf-8'))
    paper = cited['preferred-citation']
    assert cited['cff-version'] == '1.2.0' and cited['license'] == 'MIT'
    assert (
        f'title     = {{{paper["title"]}}}' in README
        and f'year      = {{{paper["year"]}}}' in README
    )
    names = ' and '.join(
        f'{author["family-names"]}, {author["given-names"]}' for author in paper['authors']
    )
    assert f'author    = {{{names}}}' in README
