"""Install aimclr_mm: pip install -e '.[lite]' -c constraints.txt"""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
version = {}
exec((ROOT / 'aimclr_mm' / 'version.py').read_text(), version)


class BuildWithConfigs(build_py):
    """Add configs, tools and the model index as aimclr_mm/.mim, where OpenMMLab's mim looks.

    An editable installation uses those of the checkout.
    """

    def run(self):
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / 'aimclr_mm' / '.mim'
        shutil.rmtree(target, ignore_errors=True)
        for folder in ('configs', 'tools'):
            ignored = shutil.ignore_patterns('__pycache__')
            shutil.copytree(ROOT / folder, target / folder, ignore=ignored)
        shutil.copy(ROOT / 'model-index.yml', target)


setup(
    name='aimclr_mm',
    version=version['__version__'],
    description='AimCLR for mmaction2: self-supervised action recognition from skeletons',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='MIT',
    packages=find_packages(include=['aimclr_mm', 'aimclr_mm.*']),
    package_data={
        'aimclr_mm.checkpoints': ['generated/*.py', 'generated/*.pth'],
        'aimclr_mm.datasets.readers': ['ntu_missing.txt'],
        'aimclr_mm.visualization.report': [
            'page.html',
            'drawings.html',
            'style.css',
            'script.js',
        ],
    },
    entry_points={'console_scripts': ['aimclr = aimclr_mm.apis.console:main']},
    cmdclass={'build_py': BuildWithConfigs},
    python_requires='>=3.10',
    install_requires=[
        'torch>=2.4',
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
        'dtw': ['dtaidistance>=2.3'],  # tools/test.py CONFIG raw --eval dtw
        'bvh': ['bvhio>=1.5'],  # recordings of motion capture, .bvh
        'rtmlib': ['rtmlib>=0.0.13', 'onnxruntime'],  # tools/prepare_data.py video
        'mediapipe': ['mediapipe>=0.10.14'],  # tools/prepare_data.py video --estimator mediapipe
        'tensorboard': ['tensorboard'],  # --with configs/runtime/tensorboard.py
        'docs': ['mkdocs-material'],  # make docs
        'lite': ['mmcv-lite>=2.0.1,<2.2'],  # omit if full mmcv is installed
        'test': ['pytest', 'pytest-timeout', 'pytest-xdist', 'ruff', 'hypothesis'],
    },
)
