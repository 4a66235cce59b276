_base_ = ['_base_/default_runtime.py', 'methods/skeletonclr.py', '_base_/pkummdv1.py']
