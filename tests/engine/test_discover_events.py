"""What Python's own events and looks show of user code: one test a row."""

# a piece of user code is one line

from __future__ import annotations

import pytest

from tests.engine.watching import Case, Seen, watch

TEXT = "open('a.txt', 'w').write('1')\n"
FOLDER = "import os\nos.mkdir('d')\nopen('d/a.txt', 'w').write('1')\n"
OPENED = {
    "builtins.open": ("open('a.txt').read()", TEXT),
    "open of bytes": ("open(b'a.txt').read()", TEXT),
    "os.open": ("import os\nos.read(os.open('a.txt', os.O_RDONLY), 1)", TEXT),
    "io.open": ("import io\nio.open('a.txt')", TEXT),
    "io.FileIO": ("import io\nio.FileIO('a.txt')", TEXT),
    "io.open_code": ("import io, os\nio.open_code(os.path.abspath('a.txt'))", TEXT),
    "pathlib": ("import pathlib\npathlib.Path('a.txt').read_text()", TEXT),
    "json": ("import json\njson.load(open('a.txt'))", TEXT),
    "codecs": ("import codecs\ncodecs.open('a.txt', encoding='utf-8').read()", TEXT),
    "fileinput": ("import fileinput\nlist(fileinput.input('a.txt'))", TEXT),
    "os.open in a folder": (
        "import os\nd = os.open('.', os.O_RDONLY)\nos.read(os.open('a.txt', 0, dir_fd=d), 1)",
        TEXT,
    ),
    "real path": ("import os\nopen(os.path.realpath('a.txt')).read()", TEXT),
    "shutil.copy": ("import shutil\nshutil.copy('a.txt', 'scratch/b.txt')", TEXT),
    "zipfile": (
        "import zipfile\nzipfile.ZipFile('a.txt').namelist()",
        "import zipfile\nzipfile.ZipFile('a.txt', 'w').close()",
    ),
    "gzip": ("import gzip\ngzip.open('a.txt').read()", "import gzip\ngzip.open('a.txt', 'w').close()"),
    "mmap": ("import mmap\nfile = open('a.txt')\nmmap.mmap(file.fileno(), 0, access=1)", TEXT),
    "sqlite3": ("import sqlite3\nsqlite3.connect('a.txt').execute('select 1')", "open('a.txt', 'w').close()"),
    "pickle": ("import pickle\npickle.load(open('a.txt', 'rb'))", "import pickle\npickle.dump(1, open('a.txt', 'wb'))"),
    "os.link": ("import os\nos.link('a.txt', 'scratch/b.txt')", TEXT),
    "thread": (
        "import threading\nt = threading.Thread(target=lambda: open('a.txt').read())\nt.start()\nt.join()",
        TEXT,
    ),
    "runpy": ("import runpy\nrunpy.run_path('a.txt')", TEXT),
    "exec": ("exec(open('a.txt').read())", TEXT),
    "subprocess-free fork": (
        "import os\np = os.fork()\nif p == 0:\n    open('a.txt').read()\n    os._exit(0)\nos.waitpid(p, 0)",
        TEXT,
    ),
    "multiprocessing fork": (
        "import multiprocessing as m\np = m.get_context('fork').Process(target=open, args=('a.txt',))\np.start()\np.join()",
        TEXT,
    ),
    "process pool": (
        "import multiprocessing as m\nwith m.get_context('fork').Pool(2) as p:\n    p.map(open_one, ['a.txt'])\n",
        TEXT,
    ),
    "fork with all descriptors closed": (
        "import os\np = os.fork()\nif p == 0:\n    os.closerange(3, 256)\n    own = [os.open('scratch/own', 66) for _ in range(64)]\n"
        "    open('a.txt').read()\n    assert os.stat('scratch/own').st_size == 0\n    os._exit(0)\nassert os.waitpid(p, 0)[1] == 0",
        TEXT,
    ),
    "os.stat": ("import os\nos.stat('a.txt')", TEXT),
    "os.path.exists": ("import os\nos.path.exists('a.txt')", TEXT),
    "os.access": ("import os\nos.access('a.txt', os.R_OK)", TEXT),
    "numpy.load": (
        "import numpy as np\nnp.load('a.txt')",
        "import numpy as np\nnp.save(open('a.txt', 'wb'), np.ones(3))",
    ),
    "numpy.load mapped": (
        "import numpy as np\nnp.load('a.txt', mmap_mode='r')",
        "import numpy as np\nnp.save(open('a.txt', 'wb'), np.ones(3))",
    ),
    "numpy.fromfile": ("import numpy as np\nnp.fromfile('a.txt', np.uint8)", TEXT),
    "numpy.memmap": ("import numpy as np\nnp.memmap('a.txt', mode='r')", TEXT),
    "numpy.loadtxt": ("import numpy as np\nnp.loadtxt('a.txt')", TEXT),
}
LISTED = {
    "os.listdir": ("import os\nos.listdir('d')", FOLDER),
    "os.scandir": ("import os\nlist(os.scandir('d'))", FOLDER),
    "os.walk": ("import os\nlist(os.walk('d'))", FOLDER),
    "glob": ("import glob\nglob.glob('d/*.txt')", FOLDER),
    "Path.glob": ("import pathlib\nlist(pathlib.Path('d').glob('*.txt'))", FOLDER),
    "Path.iterdir": ("import pathlib\nlist(pathlib.Path('d').iterdir())", FOLDER),
    "listdir of a descriptor": ("import os\nos.listdir(os.open('d', os.O_RDONLY))", FOLDER),
    "listdir in it": ("import os\nos.chdir('d')\nos.listdir()", FOLDER),
}
PLACES = {
    "isdir": ("import os\nassert os.path.isdir('d')", "import os\nos.mkdir('d')"),
    "Path.exists": ("import pathlib\nassert pathlib.Path('d').exists()", "import os\nos.mkdir('d')"),
    "access": ("import os\nassert os.access('d', os.R_OK)", "import os\nos.mkdir('d')"),
    "isdir and another file": (
        "import os\nassert os.path.isdir('d')\nopen('a.txt')",
        TEXT + "import os\nos.mkdir('d')",
    ),
}
SAID_BY_MORE = {
    "isdir and a file in it": ("import os\nassert os.path.isdir('d')\nopen('d/a.txt').read()", FOLDER),
    "isdir and listed": ("import os\nassert os.path.isdir('d')\nos.listdir('d')", FOLDER),
    "made by user code": ("import os\nos.makedirs('scratch/d')\nassert os.path.isdir('scratch/d')", ""),
}
ABSENT = {
    "open of nothing": "try:\n    open('a.txt')\nexcept OSError:\n    pass",
    "exists of nothing": "import os\nassert not os.path.exists('a.txt')",
    "Path.exists of nothing": "import pathlib\nassert not pathlib.Path('a.txt').exists()",
    "Path.is_file of nothing": "import pathlib\nassert not pathlib.Path('a.txt').is_file()",
    "access of nothing": "import os\nassert not os.access('a.txt', os.R_OK)",
    "lexists of nothing": "import os\nassert not os.path.lexists('a.txt')",
    "glob of one name": "import glob\nassert not glob.glob('a.txt')",
}
ROWS = [
    *(
        Case(
            name.replace(" ", "-"),
            f"def run():\n    {code.replace(chr(10), chr(10) + '    ')}\n\n\ndef open_one(name):\n    open(name)\n",
            prepare,
        )
        for name, (code, prepare) in OPENED.items()
    ),
    *(Case(name.replace(" ", "-"), code, prepare) for name, (code, prepare) in LISTED.items()),
    *(Case(name.replace(" ", "-"), code, made) for name, (code, made) in (PLACES | SAID_BY_MORE).items()),
    *(Case(name.replace(" ", "-"), code) for name, code in ABSENT.items()),
]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    return watch(tmp_path_factory.mktemp("events"), ROWS)


@pytest.mark.parametrize("row", OPENED)
def test_opened(row: str, seen: dict[str, Seen]) -> None:
    found = seen[row.replace(" ", "-")]
    assert found.failure is None
    assert found.files == {"a.txt"}
    assert found.codes == set()


@pytest.mark.parametrize("row", LISTED)
def test_listed(row: str, seen: dict[str, Seen]) -> None:
    found = seen[row.replace(" ", "-")]
    assert found.failure is None
    assert found.names("folder") == {"d"}


@pytest.mark.parametrize("row", ABSENT)
def test_absent(row: str, seen: dict[str, Seen]) -> None:
    found = seen[row.replace(" ", "-")]
    assert found.failure is None
    assert found.names("absent") == {"a.txt"}
    assert found.files == set()


@pytest.mark.parametrize("row", PLACES)
def test_folder_that_was_only_asked_for(row: str, seen: dict[str, Seen]) -> None:
    found = seen[row.replace(" ", "-")]
    assert found.failure is None
    assert found.names("place") == {"d"}


@pytest.mark.parametrize("row", SAID_BY_MORE)
def test_folder_of_which_more_is_known(row: str, seen: dict[str, Seen]) -> None:
    found = seen[row.replace(" ", "-")]
    assert found.failure is None
    assert found.names("place") == set()
