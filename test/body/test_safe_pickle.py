"""Pickles and npz files hold arrays or are refused; nothing that they name is ever called."""

from __future__ import annotations

import collections
import contextlib
import io
import os
import pickle
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from stdformer_ros.body.mesh_levels import load_mesh_sampling
from stdformer_ros.body.safe_pickle import RefusedPickleError, load_object_npz, load_pickle
from stdformer_ros.models import CheckpointError, create_model, load_checkpoint


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.how = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.how


def read(folder: Path, content: bytes) -> Any:
    path = folder / "file.pkl"
    path.write_bytes(content)
    return load_pickle(path)


def named(module: str, name: str, arguments: bytes = b")") -> bytes:
    """A pickle that calls `module.name`, written by hand so that nothing needs to exist."""
    return f"c{module}\n{name}\n".encode() + arguments + b"R."


# Reading what is meant to be read.


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_containers_numbers_and_arrays_are_read(tmp_path: Path, protocol: int) -> None:
    arrays = {
        "float": np.linspace(0, 1, 6).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
        "big_endian": np.arange(3, dtype=">i4"),
        "unsigned": np.array([[0, 2**32 - 1]], np.uint32),
        "bool": np.array([True, False]),
        "text": np.array(["a", "long"]),
        "none": np.empty((0, 3)),
        "single": np.array(3.5),
    }
    content = {**arrays, "list": [1, "a", (None, 2.5)], "scalar": np.float64(0.1), "bytes": b"\xff"}
    back = read(tmp_path, pickle.dumps(content, protocol))
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype == array.dtype
    assert (back["list"], back["scalar"]) == (content["list"], content["scalar"])
    assert back["bytes"] == b"\xff"


@pytest.mark.parametrize("kind", ["csc", "csr", "coo"])
@pytest.mark.parametrize("container", ["matrix", "array"])
def test_sparse_matrices_are_read(tmp_path: Path, kind: str, container: str) -> None:
    matrix = getattr(scipy.sparse, f"{kind}_{container}")(
        scipy.sparse.random(7, 5, 0.4, rng=np.random.default_rng(0))
    )
    back = read(tmp_path, pickle.dumps([matrix, matrix]))
    assert back[0] is back[1]
    np.testing.assert_array_equal(back[0].toarray(), matrix.toarray())


def test_coo_matrices_of_older_scipy_are_read(tmp_path: Path) -> None:
    """They keep rows and columns apart."""
    matrix = scipy.sparse.coo_matrix(np.diag([1.0, 2.0, 3.0]))
    rows, columns = matrix.__dict__.pop("coords")
    matrix.__dict__ |= {"row": rows, "col": columns}
    back = read(tmp_path, pickle.dumps(matrix))
    np.testing.assert_array_equal(back.toarray(), np.diag([1.0, 2.0, 3.0]))


def test_a_coo_matrix_cannot_point_outside_itself(tmp_path: Path) -> None:
    matrix = scipy.sparse.coo_matrix(np.eye(3))
    matrix.coords = (np.array([0, 1, 9]), np.array([0, 1, 2]))
    with pytest.raises(RefusedPickleError):
        read(tmp_path, pickle.dumps(matrix))


def test_ordered_dicts_are_dicts(tmp_path: Path) -> None:
    content = collections.OrderedDict([("b", np.ones(2)), ("a", 1)])
    for protocol in (0, 2, 5):
        back = read(tmp_path, pickle.dumps(content, protocol))
        assert type(back) is dict
        assert list(back) == ["b", "a"]


def test_an_ordered_dict_cannot_get_attributes(tmp_path: Path) -> None:
    content = b"\x80\x02ccollections\nOrderedDict\n)R}X\x05\x00\x00\x00itemsK\x01sb."
    with pytest.raises(RefusedPickleError, match="sets attributes"):
        read(tmp_path, content)


def test_shared_arrays_stay_shared_and_own_their_memory(tmp_path: Path) -> None:
    a = np.arange(3)
    first, second = read(tmp_path, pickle.dumps([a, a]))
    first[0] = 7
    assert second[0] == 7


def test_chumpy_arrays_become_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SMPL's and MANO's files hold them; chumpy itself is not needed to read them."""

    class Ch:
        pass

    class Select:
        pass

    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
    for kind, module in ((Ch, "chumpy.ch"), (Select, "chumpy.reordering")):
        kind.__module__, kind.__qualname__ = module, kind.__name__
        fake = types.ModuleType(module)
        setattr(fake, kind.__name__, kind)
        monkeypatch.setitem(sys.modules, module, fake)
    whole, part = Ch(), Select()
    whole.__dict__.update(x=np.arange(24.0).reshape(2, 3, 4), _dirty_vars=set(), _itr=None)
    part.__dict__.update(a=whole, idxs=np.arange(0, 24, 2), preferred_shape=(2, 3, 2))
    content = pickle.dumps({"v_template": whole, "shapedirs": part}, 2)
    monkeypatch.undo()
    back = read(tmp_path, content)
    np.testing.assert_array_equal(back["v_template"], np.arange(24.0).reshape(2, 3, 4))
    np.testing.assert_array_equal(back["shapedirs"], np.arange(0.0, 24, 2).reshape(2, 3, 2))


def test_python_2s_oldest_protocol_is_read(tmp_path: Path) -> None:
    """Protocol 0 with `copy_reg._reconstructor` and 8-bit strings, as SMPL's files of 2015."""
    values = np.array([1.0, 2.0])
    content = (
        b"(dp0\nS'v_template'\np1\n"
        b"ccopy_reg\n_reconstructor\np2\n(cchumpy.ch\nCh\np3\nc__builtin__\nobject\np4\nNtRp5\n"
        b"(dp6\nS'x'\np7\n"
        b"cnumpy.core.multiarray\n_reconstruct\np8\n(cnumpy\nndarray\np9\n(I0\ntS'b'\ntR"
        b"(I1\n(I2\ntcnumpy\ndtype\np10\n(S'f8'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\n"
        b"S" + repr(values.tobytes())[1:].encode() + b"\ntbsbs."
    )
    np.testing.assert_array_equal(read(tmp_path, content)["v_template"], values)


def test_only_the_named_arrays_of_an_npz_are_read(tmp_path: Path) -> None:
    """`mesh_downsampling.npz` also holds objects of a class that is not public."""
    objects = np.empty(2, object)
    objects[:] = [scipy.sparse.csc_matrix(np.eye(3)), scipy.sparse.csc_matrix(np.ones((2, 3)))]
    hostile = np.array([Call(os.system, "exit 1")], object)
    np.savez(tmp_path / "a.npz", D=objects, plain=np.arange(3), M=hostile)
    back = load_object_npz(tmp_path / "a.npz", ("D", "plain"))
    assert [m.shape for m in back["D"]] == [(3, 3), (2, 3)]
    assert back["plain"].tolist() == [0, 1, 2]
    with pytest.raises(RefusedPickleError, match=r"names (posix|nt)\.system"):
        load_object_npz(tmp_path / "a.npz", ("M",))


# Refusing the rest.

SIDE_EFFECTS = [
    ("os", "system"),
    ("posix", "system"),
    ("subprocess", "Popen"),
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("builtins", "getattr"),
    ("builtins", "__import__"),
    ("builtins", "open"),
    ("__builtin__", "eval"),
    ("importlib", "import_module"),
    ("runpy", "run_path"),
    ("pickle", "loads"),
    ("operator", "attrgetter"),
    ("functools", "partial"),
    ("copyreg", "add_extension"),
    ("numpy", "load"),
    ("numpy", "memmap"),
    ("numpy", "fromfile"),
    ("numpy", "ndarray.tofile"),
    ("numpy", "save"),
    ("numpy", "DataSource"),
    ("numpy.testing", "measure"),
    ("numpy.testing._private.utils", "runstring"),
    ("numpy.f2py", "compile"),
    ("numpy.ctypeslib", "load_library"),
    ("numpy.core.multiarray", "fromfile"),
    ("numpy._core.multiarray", "frombuffer"),
    ("numpy.lib.format", "open_memmap"),
    ("scipy.sparse", "load_npz"),
    ("scipy.io", "loadmat"),
    ("chumpy.ch", "ChLambda"),
    ("chumpy.utils", "row"),
    ("torch", "load"),
    ("stdformer_ros.body.safe_pickle", "load_pickle"),
]


@pytest.mark.parametrize(("module", "name"), SIDE_EFFECTS)
def test_all_other_names_are_refused_and_named_in_the_error(
    tmp_path: Path, module: str, name: str
) -> None:
    with pytest.raises(RefusedPickleError, match=f"it names {module}.{name}, which is no array"):
        read(tmp_path, named(module, name))
    by_stack = b"\x80\x04\x8c" + bytes([len(module)]) + module.encode()
    by_stack += b"\x8c" + bytes([len(name)]) + name.encode() + b"\x93)R."
    with pytest.raises(RefusedPickleError, match=f"it names {module}.{name}, which is no array"):
        read(tmp_path, by_stack)


@pytest.mark.parametrize("opcode", ["reduce", "inst", "obj"])
def test_no_way_of_calling_gets_through(tmp_path: Path, opcode: str) -> None:
    touched = tmp_path / "touched"
    command = f"touch {touched}".encode()
    content = {
        "reduce": b"cos\nsystem\n(V" + command + b"\ntR.",
        "inst": b"(V" + command + b"\nios\nsystem\n.",
        "obj": b"(cos\nsystem\nV" + command + b"\no.",
    }[opcode]
    with pytest.raises(RefusedPickleError, match=r"os\.system"):
        read(tmp_path, content)
    assert not touched.exists()


@pytest.mark.parametrize(
    "hide",
    [
        lambda call: [call],
        lambda call: {"a": call},
        lambda call: {"deep": [({"er": (1, [call])},)]},
        lambda call: np.array([1, call], object),
        lambda call: np.array([np.array([call], object), 2], object),
    ],
)
def test_a_call_inside_containers_and_arrays_is_refused(
    tmp_path: Path, hide: Callable[[Any], Any]
) -> None:
    touched = tmp_path / "touched"
    content = pickle.dumps(hide(Call(os.system, f"touch {touched}")))
    with pytest.raises(RefusedPickleError, match="system"):
        read(tmp_path, content)
    assert not touched.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"ccopy_reg\n_reconstructor\n(c__builtin__\nset\nc__builtin__\nobject\nNtR.", "no array"),
        (b"ccopy_reg\n_reconstructor\n(cnumpy\ndtype\ncnumpy\ndtype\nNtR.", "no array"),
        (named("_codecs", "encode", b"(Va\nVrot13\nt"), "the codec 'rot13'"),
        (named("numpy", "dtype", b"(Vf8,f8\nI0\nI1\nt"), "the data type 'f8,f8'"),
        (named("numpy", "dtype", b"(cnumpy\nndarray\nI0\nI1\nt"), "the data type"),
        (b"cnumpy\nndarray\n.", "stores a class"),
        (b"c__builtin__\nobject\n)R.", "stores a bare object"),
        (b"Vname\np0\nPa\n.", "outside the file"),
        (b"\x80\x02\x82\x01.", "not an intact pickle"),  # the extension registry
    ],
)
def test_misuse_of_allowed_names_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(RefusedPickleError, match=message):
        read(tmp_path, content)


@pytest.mark.parametrize(
    "target",
    [b"cnumpy\nndarray\n", b"cnumpy.core.multiarray\n_reconstruct\n", b"c__builtin__\nset\n"],
)
def test_no_pickle_can_change_how_the_next_is_read(tmp_path: Path, target: bytes) -> None:
    """They set state on the stand-in class itself, instead of on an instance."""
    state = b"(dVarguments\nI1\nsV__setstate__\nI2\ns"
    for content in (target + state + b"b.", target + b"(N" + state + b"tb."):
        with pytest.raises(RefusedPickleError):
            read(tmp_path, content)
    assert read(tmp_path, pickle.dumps(np.arange(3))).tolist() == [0, 1, 2]


def array_of(shape: tuple[int, ...], data: bytes, dtype: str = "f8") -> bytes:
    """A pickled array that announces `shape` and `dtype` and holds `data`, written by hand."""
    sizes = "".join(f"I{n}\n" for n in shape)
    head = (
        "cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
        f"(I1\n({sizes}tcnumpy\ndtype\n(S'{dtype}'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\n"
    )
    return head.encode() + b"B" + len(data).to_bytes(4, "little") + data + b"tb."


def test_the_handwritten_array_is_read(tmp_path: Path) -> None:
    values = np.array([[1.0, 2.0]])
    np.testing.assert_array_equal(read(tmp_path, array_of((1, 2), values.tobytes())), values)


@pytest.mark.parametrize(
    ("shape", "data"),
    [((2,), b"\0" * 8), ((1,), b"\0" * 9), ((-1,), b""), ((2**62, 4), b""), ((2**40,), b"")],
)
def test_an_array_must_hold_as_many_bytes_as_its_shape_needs(
    tmp_path: Path, shape: tuple[int, ...], data: bytes
) -> None:
    with pytest.raises(RefusedPickleError, match=r"bytes, but holds|cannot have the shape"):
        read(tmp_path, array_of(shape, data))


def test_pointers_cannot_be_forged(tmp_path: Path) -> None:
    """An array of Python objects whose bytes would be taken for addresses."""
    with pytest.raises(RefusedPickleError, match="lacks its elements"):
        read(tmp_path, array_of((1,), b"\x41" * 8, "O8"))


def test_a_sparse_matrix_cannot_point_outside_itself(tmp_path: Path) -> None:
    matrix = scipy.sparse.csc_matrix(np.eye(3))
    matrix.indices[1] = 1000
    with pytest.raises(RefusedPickleError, match="not an intact pickle"):
        read(tmp_path, pickle.dumps(matrix))


def test_a_few_bytes_cannot_allocate_gigabytes(tmp_path: Path) -> None:
    """They memorise object number 2^30, announce a frame or text of 4 GB, or 10^12 zero bytes."""
    assert read(tmp_path, b"\x80\x02]r\x00\x00\x00\x40.") == []
    assert read(tmp_path, b"\x80\x04\x95\xff\xff\xff\xff\x00\x00\x00\x00].") == []
    for content in (
        b"\x80\x02X\xff\xff\xff\xffabc.",
        b"c__builtin__\nbytes\n(I1000000000000\ntR.",
    ):
        with pytest.raises(RefusedPickleError):
            read(tmp_path, content)


def test_very_deep_or_circular_nesting_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedPickleError):
        read(tmp_path, b"]" * 100_000 + b"a" * 99_999 + b".")
    itself = b"]p0\n(cnumpy\nndarray\nI0\nt)Rg0\nb."
    with pytest.raises(RefusedPickleError):
        read(tmp_path, itself)


INTACT = pickle.dumps(
    {"a": np.arange(4.0), "s": scipy.sparse.csc_matrix(np.eye(2)), "l": [1, (2, "x")]}, 2
)


@given(st.integers(0, len(INTACT) - 1))
def test_a_truncated_pickle_is_refused(tmp_path_factory: pytest.TempPathFactory, n: int) -> None:
    with pytest.raises(RefusedPickleError):
        read(tmp_path_factory.getbasetemp(), INTACT[:n])


@given(st.dictionaries(st.integers(0, len(INTACT) - 1), st.integers(0, 255), min_size=1))
def test_a_pickle_with_changed_bytes_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, noise: dict[int, int]
) -> None:
    content = bytearray(INTACT)
    for place, value in noise.items():
        content[place] = value
    with contextlib.suppress(RefusedPickleError):
        read(tmp_path_factory.getbasetemp(), bytes(content))


# The files that the product reads.


def test_a_broken_npz_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"PK\x03\x04 and nothing more")
    with pytest.raises(RefusedPickleError, match="not an intact npz"):
        load_object_npz(path, ("A",))
    np.savez(path, A=np.arange(3))
    with pytest.raises(KeyError, match="no array 'U'; it holds A"):
        load_object_npz(path, ("U",))


def test_an_npz_whose_header_announces_another_shape_is_refused(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array(header, np.empty(0, object), allow_pickle=True)
    content = header.getvalue()[:128] + pickle.dumps(np.array([1, 2], object))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("A.npy", content)
    with pytest.raises(RefusedPickleError, match=r"the array of shape \(0,\) it announces"):
        load_object_npz(tmp_path / "a.npz", ("A",))


def test_an_npz_that_would_fill_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stdformer_ros.body.safe_pickle.MAX_ARRAY_FILE_BYTES", 1000)
    np.savez_compressed(tmp_path / "a.npz", A=np.zeros(1000))
    with pytest.raises(RefusedPickleError, match="would unpack to 8128 bytes"):
        load_object_npz(tmp_path / "a.npz", ("A",))


def test_a_mesh_sampling_file_of_another_mesh_is_refused(tmp_path: Path) -> None:
    def objects(*values: Any) -> np.ndarray:
        array = np.empty(len(values), object)
        array[:] = values
        return array

    square = scipy.sparse.csc_matrix(np.eye(4))
    np.savez(tmp_path / "a.npz", A=objects(square), U=objects(square), F=objects(np.zeros((1, 3))))
    with pytest.raises(ValueError, match=r"not SMPL's \(6890, 1723, 431\)"):
        load_mesh_sampling(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", A=objects(1.0), U=objects(2.0), F=objects(3.0))
    with pytest.raises(ValueError, match="does not hold a mesh's levels"):
        load_mesh_sampling(tmp_path / "b.npz")


@pytest.mark.parametrize("new_format", [True, False])
def test_a_checkpoint_that_names_a_function_is_refused(tmp_path: Path, new_format: bool) -> None:
    touched, path = tmp_path / "touched", tmp_path / "a.pth"
    content = {"fc1.weight": torch.zeros(1), "a": Call(os.system, f"touch {touched}")}
    torch.save(content, path, _use_new_zipfile_serialization=new_format)
    with pytest.raises(CheckpointError, match=r"refused, because it names (posix|nt)\.system"):
        load_checkpoint(create_model("lstm_posenet_81"), path)
    assert not touched.exists()


def test_a_network_saved_as_a_whole_is_refused_with_a_hint_to_save_its_state_dict(
    tmp_path: Path,
) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "model.bin")
    with pytest.raises(CheckpointError, match=r"names torch\.nn.*Linear.*save its state_dict\(\)"):
        load_checkpoint(create_model("lstm_posenet_81"), tmp_path / "model.bin")


def test_unknown_entries_of_a_checkpoint_are_not_built(tmp_path: Path) -> None:
    """If the named functions were called, an array of 10^12 numbers would be allocated."""
    state = create_model("lstm_posenet_81").state_dict()
    sneaky = Call(np.dtype, f"S{10**9}"), Call(np.ndarray, (10**12,))
    torch.save({"model": state, "sneaky": sneaky}, tmp_path / "a.pth")
    load_checkpoint(create_model("lstm_posenet_81"), tmp_path / "a.pth")
