_base_ = ['_base_/default_runtime.py', '_base_/aimclr.py', '_base_/ntu120.py']
