_base_ = ['_base_/default_runtime.py', '_base_/aimclr.py', '_base_/pkummdv1_xview.py']
