"""cffi modules cannot be declared in pyproject.toml; all else is there."""

from setuptools import setup

setup(cffi_modules=["host/wage_host/build_core.py:ffi"])
