"""Install aimclr_mm: pip install -e '.[lite]' -c constraints.txt"""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
version = {}
exec((ROOT / 'aimclr_mm' / 'version.py').read_text(), version)

setup(
    name='aimclr_mm',
    version=version['__version__'],
    description='AimCLR for mmaction2: self-supervised action recognition from skeletons',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='MIT',
    packages=find_packages(include=['aimclr_mm', 'aimclr_mm.*']),
    package_data={
        'aimclr_mm.datasets.readers': ['ntu_missing.txt'],
        'aimclr_mm.visualization.report': [
            'page.html',
            'drawings.html',
            'style.css',
            'script.js',
        ],
    },
    python_requires='>=3.10',
    install_requires=[
        'torch>=2.1',
        'mmengine>=0.10.4,<0.11',
        'mmaction2>=1.2,<1.3',
        'importlib_metadata',  # imported by mmaction2 without being declared
        'numpy',
        'pandas',
        'scipy',
        'scikit-learn',
        'matplotlib',
        'Pillow',
        'rich',
        'filelock',
        'PyYAML',
        'Jinja2',
    ],
    extras_require={
        'umap': ['umap-learn'],  # tools/analyze.py tsne --method umap
        'export': ['onnx', 'onnxruntime', 'onnxscript'],  # tools/export.py
        'tensorboard': ['tensorboard'],  # --with configs/runtime/tensorboard.py
        'docs': ['mkdocs-material'],  # make docs
        'lite': ['mmcv-lite>=2.0.1,<2.2'],  # omit if full mmcv is installed
        'test': ['pytest', 'pytest-timeout', 'pytest-xdist', 'ruff', 'hypothesis'],
    },
)
