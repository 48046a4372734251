"""Reads arrays from pickles and object-array npz files without calling anything that they name.

A pickle is a small program that may call anything that can be imported. Here nothing that it names
is ever called. The few names that SMPL's files need (arrays, scalars, data types, sparse matrices,
chumpy arrays) give stand-ins, which only store what they are given; any other name is refused. The
arrays are built afterwards from the stored bytes, with their sizes checked.
"""

from __future__ import annotations

import io
import math
import pickle
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
import scipy.sparse

from stdformer_ros.downloads import reason, reason_to_refuse

MAX_ARRAY_FILE_BYTES = 1 << 30
"""The largest unpacked size of one array of an npz; SMPL's are far smaller."""


class RefusedPickleError(ValueError):
    """A file that names anything but arrays, or is not an intact pickle."""


def load_pickle(path: str | Path) -> Any:
    """Read a pickle of Python 2 or 3 that holds plain containers, numbers and arrays.

    Args:
        path: of the file, for example SMPL's `basicModel_neutral_lbs_10_207_0_v1.0.0.pkl`.

    Returns:
        Its content; chumpy arrays become numpy arrays, sparse matrices those of scipy.

    Raises:
        FileNotFoundError: if there is no such file.
        RefusedPickleError: if it names anything outside the allow-list, or is broken.
    """
    _require_file(path)
    with Path(path).open("rb") as file:
        return _read(file, str(path))


def load_object_npz(path: str | Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Read named arrays of an npz file, those of Python objects too.

    Args:
        path: of the file, for example `mesh_downsampling.npz`.
        names: of the arrays wanted; the others are not looked at.

    Returns:
        The arrays by name.

    Raises:
        FileNotFoundError: if there is no such file.
        KeyError: if the file has no array of that name.
        RefusedPickleError: as in `load_pickle`, and if the file is not an npz.
    """
    _require_file(path)
    with Path(path).open("rb") as file:
        try:
            archive = zipfile.ZipFile(file)
        except zipfile.BadZipFile as error:
            raise RefusedPickleError(f"{path} is not an intact npz file: {error}") from error
        return {name: _read_member(archive, name, str(path)) for name in names}


def _require_file(path: str | Path) -> None:
    """Refuse what is no data file at all, whatever its name is."""
    if refusal := reason_to_refuse(Path(path)):
        raise RefusedPickleError(refusal)


def _read_member(archive: zipfile.ZipFile, name: str, path: str) -> np.ndarray:
    """Read one array of an npz."""
    where = f"{path}[{name!r}]"
    try:
        info = archive.getinfo(f"{name}.npy")
    except KeyError:
        held = ", ".join(n.removesuffix(".npy") for n in archive.namelist()) or "nothing"
        raise KeyError(f"{path} has no array {name!r}; it holds {held}") from None
    if info.file_size > MAX_ARRAY_FILE_BYTES:
        raise RefusedPickleError(f"{where} would unpack to {info.file_size} bytes; refused")
    try:
        file = io.BytesIO(archive.read(info))
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, _, dtype = read_header(file)
        if not dtype.hasobject:
            file.seek(0)
            return np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise RefusedPickleError(f"{where} is not an intact array: {reason(error)}") from error
    array = _read(file, where)
    if not isinstance(array, np.ndarray) or array.shape != shape:
        raise RefusedPickleError(f"{where} does not hold the array of shape {shape} it announces")
    return array


def _read(file: BinaryIO, where: str) -> Any:
    """Unpickle with stand-ins, then build the arrays."""
    try:
        return _Builder().build(_Unpickler(file, encoding="latin1").load())
    except RefusedPickleError as error:
        raise RefusedPickleError(f"{where}: {error}") from None
    except Exception as error:  # a broken pickle can raise nearly anything, MemoryError too
        raise RefusedPickleError(
            f"{where} is not an intact pickle of arrays: {type(error).__name__}: {error}"
        ) from error


class _StandIn:
    """Stores its arguments and its state; nothing is called.

    Every stand-in is a class with `__setstate__`, so that a pickle cannot set attributes on it.
    """

    __slots__ = ("arguments", "state")

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Array(_StandIn):
    """numpy.ndarray as `_reconstruct` makes it; the state holds shape, type and bytes."""


class _Reconstruct(_StandIn):
    """numpy's `_reconstruct(ndarray, (0,), b"b")`: an empty array, filled by its state."""


class _FromBuffer(_StandIn):
    """numpy's `_frombuffer(bytes, dtype, shape, order)` of pickle protocol 5."""


class _Dtype(_StandIn):
    """numpy.dtype(name, align, copy) with its byte order in the state."""


class _Scalar(_StandIn):
    """numpy's `scalar(dtype, bytes)`."""


class _Encode(_StandIn):
    """`_codecs.encode(text, "latin1")`: how Python 3 writes bytes for old protocols."""


class _Bytes(_StandIn):
    """`bytes()`: how Python 3 writes empty bytes for old protocols."""


class _Object(_StandIn):
    """The base class in Python 2's `_reconstructor(cls, object, None)`."""


class _Reconstructor(_StandIn):
    """`copy_reg._reconstructor(cls, object, None)`: an instance of `cls`, filled by its state."""


class _SparseCsc(_StandIn):
    """scipy.sparse.csc_matrix."""


class _SparseCsr(_StandIn):
    """scipy.sparse.csr_matrix."""


class _SparseCoo(_StandIn):
    """scipy.sparse.coo_matrix."""


class _Dict(dict[Any, Any]):
    """collections.OrderedDict, without attributes that a pickle could set."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise RefusedPickleError("refused, because it sets attributes of a dict")


class _ChumpyArray(_StandIn):
    """chumpy.ch.Ch: the array is the state's `x`."""


class _ChumpySelect(_StandIn):
    """chumpy.reordering.Select: elements `idxs` of the array `a`, in `preferred_shape`."""


_ALLOWED: dict[str, type] = {
    "numpy.ndarray": _Array,
    "numpy.dtype": _Dtype,
    "numpy.core.multiarray._reconstruct": _Reconstruct,
    "numpy._core.multiarray._reconstruct": _Reconstruct,
    "numpy.core.multiarray.scalar": _Scalar,
    "numpy._core.multiarray.scalar": _Scalar,
    "numpy.core.numeric._frombuffer": _FromBuffer,
    "numpy._core.numeric._frombuffer": _FromBuffer,
    "scipy.sparse.csc.csc_matrix": _SparseCsc,
    "scipy.sparse._csc.csc_matrix": _SparseCsc,
    "scipy.sparse._csc.csc_array": _SparseCsc,
    "scipy.sparse.csr.csr_matrix": _SparseCsr,
    "scipy.sparse._csr.csr_matrix": _SparseCsr,
    "scipy.sparse._csr.csr_array": _SparseCsr,
    "scipy.sparse.coo.coo_matrix": _SparseCoo,
    "scipy.sparse._coo.coo_matrix": _SparseCoo,
    "scipy.sparse._coo.coo_array": _SparseCoo,
    "collections.OrderedDict": _Dict,
    "chumpy.ch.Ch": _ChumpyArray,
    "chumpy.reordering.Select": _ChumpySelect,
    "copy_reg._reconstructor": _Reconstructor,
    "copyreg._reconstructor": _Reconstructor,
    "__builtin__.object": _Object,
    "builtins.object": _Object,
    "__builtin__.set": set,
    "builtins.set": set,
    "__builtin__.bytes": _Bytes,
    "builtins.bytes": _Bytes,
    "_codecs.encode": _Encode,
}
"""Exact names and not whole modules: even numpy has functions that read files and run programs."""


class _Unpickler(pickle._Unpickler):
    """Gives stand-ins for the allowed names and refuses all others.

    It derives from the standard library's unpickler in Python. The one in C allocates memory for as
    many memorised objects as the file claims to have: a few bytes can claim gigabytes.
    """

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in of `module.name`.

        Raises:
            RefusedPickleError: if the name is not on the list.
        """
        stand_in = _ALLOWED.get(f"{module}.{name}")
        if stand_in is None:
            raise RefusedPickleError(
                f"refused, because it names {module}.{name}, which is no array; the file may be "
                "malicious, or of another kind than expected"
            )
        return stand_in

    def persistent_load(self, pid: Any) -> NoReturn:
        """Refuse references to things outside the file."""
        raise RefusedPickleError("refused, because it refers to objects outside the file")


class _Builder:
    """Turns the unpickler's result into containers, numbers and arrays."""

    def __init__(self) -> None:
        self._built: dict[int, Any] = {}
        self._kept: list[Any] = []  # keeps the objects alive, so that no id is used twice

    def build(self, value: Any) -> Any:
        """Replace the stand-ins in `value`; shared objects stay shared."""
        if id(value) in self._built:
            return self._built[id(value)]
        if isinstance(value, dict):
            built: Any = {}
            self._remember(value, built)
            built.update({self.build(k): self.build(v) for k, v in value.items()})
            return built
        if isinstance(value, list):
            built = []
            self._remember(value, built)
            built.extend(self.build(v) for v in value)
            return built
        if isinstance(value, tuple):
            return self._remember(value, tuple(self.build(v) for v in value))
        if isinstance(value, _StandIn):
            return self._remember(value, self._build_stand_in(value))
        if isinstance(value, type):
            raise RefusedPickleError("refused, because it stores a class instead of an array")
        return value

    def _remember(self, value: Any, built: Any) -> Any:
        self._built[id(value)] = built
        self._kept.append(value)
        return built

    def _build_stand_in(self, value: _StandIn) -> Any:
        if isinstance(value, _Reconstructor):
            cls, base, nothing = value.arguments
            if not issubclass(cls, _StandIn) or base is not _Object or nothing is not None:
                raise RefusedPickleError("refused, because it rebuilds something that is no array")
            made = cls()
            made.state = value.state
            return self._build_stand_in(made)
        if isinstance(value, _Array | _Reconstruct):
            _, shape, dtype, fortran, data = value.state
            return self._array(data, dtype, shape, "F" if fortran else "C")
        if isinstance(value, _FromBuffer):
            data, dtype, shape, order = value.arguments
            return self._array(data, dtype, shape, order)
        if isinstance(value, _Dtype):
            return _dtype(value)
        if isinstance(value, _Scalar):
            return self._array(value.arguments[1], value.arguments[0], (), "C")[()]
        if isinstance(value, _Encode):
            return _encode(value)
        if isinstance(value, _Bytes) and not value.arguments:
            return b""
        if isinstance(value, _SparseCsc | _SparseCsr | _SparseCoo):
            return self._sparse(value)
        if isinstance(value, _ChumpyArray):
            return np.asarray(self.build(value.state)["x"])
        if isinstance(value, _ChumpySelect):
            state = self.build(value.state)
            elements = np.asarray(state["a"]).ravel()[np.asarray(state["idxs"])]
            return elements.reshape(state["preferred_shape"])
        raise RefusedPickleError("refused, because it stores a bare object instead of an array")

    def _array(self, data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
        """An array that owns its memory, its size checked against its shape."""
        kind = self.build(dtype)
        shape = tuple(int(n) for n in shape)
        count = math.prod(shape)
        if min(shape, default=0) < 0:
            raise RefusedPickleError(f"an array cannot have the shape {shape}")
        if kind.hasobject:
            if not isinstance(data, list) or len(data) != count:
                raise RefusedPickleError(f"an object array of shape {shape} lacks its elements")
            objects = np.empty(count, dtype=object)
            for i, element in enumerate(data):
                objects[i] = self.build(element)
            return objects.reshape(shape, order=order)
        data = self.build(data)
        if isinstance(data, str):
            data = data.encode("latin1")  # Python 2's bytes, see the encoding of the unpickler
        if len(data) != count * kind.itemsize:
            raise RefusedPickleError(
                f"an array of shape {shape} and type {kind} needs {count * kind.itemsize} bytes, "
                f"but holds {len(data)}"
            )
        return np.frombuffer(data, kind, count).reshape(shape, order=order).copy(order="K")

    def _sparse(self, value: _StandIn) -> Any:
        """A matrix whose indices are checked, which scipy's own loading does not do."""
        state = self.build(value.state)
        shape = tuple(state.get("_shape") or state["shape"])
        if isinstance(value, _SparseCoo):  # scipy 1.11 and later keeps rows and columns together
            rows, columns = state.get("coords") or (state["row"], state["col"])
            # scipy checks the indices here.
            return scipy.sparse.coo_matrix((state["data"], (rows, columns)), shape=shape).tocsc()
        cls = scipy.sparse.csc_matrix if isinstance(value, _SparseCsc) else scipy.sparse.csr_matrix
        parts = tuple(np.asarray(state[part]) for part in ("data", "indices", "indptr"))
        matrix = cls(parts, shape=shape)
        matrix.check_format(full_check=True)
        return matrix


def _dtype(value: _Dtype) -> np.dtype:
    """A plain data type; no file needs one with fields or a nested one."""
    name = value.arguments[0]
    if not isinstance(name, str) or not re.fullmatch(r"[biufcSUO?]\d{0,9}", name):
        raise RefusedPickleError(f"refused, because it names the data type {name!r}")
    state = value.state or (3, "|", None, None, None)
    if any(part is not None for part in state[2:5]):
        raise RefusedPickleError("refused, because it has a structured data type")
    if state[1] not in ("<", ">", "=", "|"):
        raise RefusedPickleError(f"refused, because it has the byte order {state[1]!r}")
    return np.dtype(f"{state[1]}{name}")


def _encode(value: _Encode) -> bytes:
    """The bytes that Python 3 wrote as text."""
    text, encoding = value.arguments
    if encoding != "latin1":
        raise RefusedPickleError(f"refused, because it asks for the codec {encoding!r}")
    return text.encode("latin1")
