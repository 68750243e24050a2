"""What the figures were measured on."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path

# What the speed of a matrix product depends on.
CPU_FLAGS = ('avx2', 'fma', 'avx512f', 'avx512_vnni', 'avx512_bf16', 'amx_bf16', 'amx_tile')
PACKAGES = ('tensorflow', 'keras', 'numpy', 'pydensecrf2', 'torch')


def describe() -> dict[str, str]:
    """The machine and the programs: a dict from what to a text."""
    lines = Path('/proc/cpuinfo').read_text().splitlines()
    cpu: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(':')
        if colon:
            cpu.setdefault(name.strip(), value.strip())
    flags = cpu.get('flags', '').split()
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    machine = {
        'CPU': cpu.get('model name', platform.machine()),
        'cores': str(len(os.sched_getaffinity(0))),
        'has': ' '.join(flag for flag in CPU_FLAGS if flag in flags) or 'none of the flags below',
        'has not': ' '.join(flag for flag in CPU_FLAGS if flag not in flags),
        'memory': f'{memory / 2**30:.0f} GiB',
        'load before': f'{os.getloadavg()[0]:.2f}',
        'system': f'{platform.system()} {platform.release()}, Python {platform.python_version()}',
    }
    if shutil.which('nvidia-smi'):
        query = ['nvidia-smi', '--query-gpu=name', '--format=csv,noheader']
        machine['GPU'] = subprocess.run(query, capture_output=True, text=True).stdout.strip()
    return machine | {package: _version(package) for package in PACKAGES}


def available_memory() -> int:
    """Bytes that a new process could take."""
    lines = Path('/proc/meminfo').read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith('MemAvailable'))


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return 'not installed'
