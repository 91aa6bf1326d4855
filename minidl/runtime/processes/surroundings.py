"""What a rank takes over from its kernel before each run, so that a function finds there what it
would find here.

    kernel  os.chdir, sys.path, sys.argv, os.environ, torch.set_default_dtype  --header-->  rank

A virtual rank lives in the kernel's own process and has all of it. What a rank changes itself stays
until the kernel changes the same thing; its default dtype stays among %%ranks cells only.
"""

import os
import sys

import torch

from minidl.runtime.words.sources import learners_argv

# A rank has values of its own for these: how it was started, and who it is.
OWN = {
    "GLOO_SOCKET_IFNAME",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
    "NCCL_SOCKET_IFNAME",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "PYTHONPATH",
    "RANK",
    "TORCH_NCCL_ASYNC_ERROR_HANDLING",
    "TORCH_NCCL_ENABLE_MONITORING",
    "WORLD_SIZE",
}


def surroundings():
    """Those of this process, the kernel, as they travel to a rank."""
    return {
        "cwd": os.getcwd(),
        "path": list(sys.path),
        "argv": learners_argv(),
        "environment": dict(os.environ),
        "dtype": torch.get_default_dtype(),
    }


class Follower:
    """A rank, as it follows its kernel."""

    def __init__(self):
        self.environment = dict(os.environ)  # the kernel's, as last known here
        self.dtype = torch.get_default_dtype()

    def follow(self, kernel):
        """Take over what has changed there since the last run."""
        os.chdir(kernel["cwd"])
        sys.path[:] = kernel["path"]
        sys.argv[:] = kernel["argv"]
        self._follow_environment(kernel["environment"])
        if kernel["dtype"] != self.dtype:
            self.dtype = kernel["dtype"]
            torch.set_default_dtype(self.dtype)

    def _follow_environment(self, environment):
        before = self.environment
        self.environment = environment
        for name in (before.keys() | environment.keys()) - OWN:
            value = environment.get(name)
            if value == before.get(name):
                continue
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
