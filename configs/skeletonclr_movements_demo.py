"""The demonstration: a small encoder that learns from random movements within minutes on a CPU."""

_base_ = '_base_/movements_demo.py'
