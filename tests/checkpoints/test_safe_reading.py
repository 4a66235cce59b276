"""Safe reading of checkpoint files; attacks, objects and mutations are in tests/utils."""

import hashlib
import http.server
import io
import os
import socket
import threading
import warnings
import zipfile

import pytest
import torch

from aimclr_mm.checkpoints import safe_reading
from aimclr_mm.checkpoints.safe_reading import load_checkpoint_file, load_checkpoint_url


def test_checkpoint_file_is_read(tmp_path):
    path = tmp_path / 'good.pth'
    torch.save(dict(state_dict=dict(w=torch.arange(3)), meta=dict(epoch=2)), path)
    checkpoint = load_checkpoint_file(str(path))
    assert checkpoint['state_dict']['w'].tolist() == [0, 1, 2] and checkpoint['meta'] == dict(
        epoch=2
    )


def test_checkpoint_file_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match='gone.pth'):
        load_checkpoint_file(str(tmp_path / 'gone.pth'))


def saved(content, **kwargs) -> bytes:
    """Return a checkpoint file."""
    file = io.BytesIO()
    torch.save(content, file, **kwargs)
    return file.getvalue()


WEIGHTS = saved(dict(state_dict=dict(w=torch.randn(20, 30))))


@pytest.mark.parametrize(
    'text',
    [
        b'',
        b'this is a text\n',
        WEIGHTS[: len(WEIGHTS) // 2],
        WEIGHTS[:30],
        bytes(500),
        b'PK\x03\x04' + bytes(100),
    ],
)
def test_checkpoint_file_damaged(tmp_path, text):
    (tmp_path / 'bad.pth').write_bytes(text)
    with pytest.raises(ValueError, match='bad.pth'):
        load_checkpoint_file(str(tmp_path / 'bad.pth'))


def test_checkpoint_file_without_a_dict(tmp_path):
    torch.save([torch.ones(1)], tmp_path / 'list.pth')
    with pytest.raises(ValueError, match='holds a list'):
        load_checkpoint_file(str(tmp_path / 'list.pth'))


def rezipped(change=None, **settings) -> bytes:
    """Return WEIGHTS as zipfile writes it, after a change of its members."""
    with zipfile.ZipFile(io.BytesIO(WEIGHTS)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, 'w', **settings) as archive:
        warnings.simplefilter('ignore')  # of names that occur twice
        for name, content in change(members) if change else members:
            archive.writestr(name, content)
    return file.getvalue()


def bad_pickle() -> bytes:
    """Return a pickle that crashes the process of a reader that does not scan it."""
    return b'\x80\x02})' + b'\x85' * 200_000 + b'K\x01s.'


def as_upper_case(members: list) -> list:
    """Hide the pickle from readers that mind the case, beside one for those that do."""
    return [('archive/DATA.PKL', bad_pickle()), *members]


def renamed(members: list) -> list:
    """Hide the pickle from readers that mind the case."""
    return [(name.replace('data.pkl', 'DATA.PKL'), content) for name, content in members]


def two_directories() -> bytes:
    """Return an archive that ends with the directory of another."""
    other = rezipped(lambda members: [('archive/data.pkl', bad_pickle()), *members[1:]])
    return other + rezipped()


def gap() -> bytes:
    """Return an archive with bytes between the records and the directory."""
    content = rezipped()
    directory = int.from_bytes(content[-6:-2], 'little')
    end = (directory + 100).to_bytes(4, 'little')
    return content[:directory] + bytes(100) + content[directory:-6] + end + content[-2:]


def other_name() -> bytes:
    """Return an archive whose first record calls itself otherwise than the directory does."""
    return WEIGHTS.replace(b'archive/data.pkl', b'archive/DATA.PKL', 1)


UNUSUAL = {
    'upper case': rezipped(renamed),
    'two cases': rezipped(as_upper_case),
    'two names': rezipped(lambda members: [*members, members[0]]),
    'two folders': rezipped(lambda members: [*members, ('b/data.pkl', bad_pickle())]),
    'two directories': two_directories(),
    'before': b'PK\x03\x04' + bytes(60) + WEIGHTS,
    'between': gap(),
    'after': WEIGHTS + bytes(20),
    'comment': WEIGHTS[:-2] + b'\x04\0abcd',
    'other name': other_name(),
    'no pickle': rezipped(lambda members: members[1:]),
    'short record': rezipped(lambda m: [(n, c[:-4] if n.endswith('data/0') else c) for n, c in m]),
    'byte order': rezipped(lambda m: [(n, b'big' if 'order' in n else c) for n, c in m]),
}


@pytest.mark.parametrize('kind', UNUSUAL)
def test_archives_that_programs_read_differently_are_refused(tmp_path, kind):
    (tmp_path / 'bad.pth').write_bytes(UNUSUAL[kind])
    with pytest.raises(ValueError, match='bad.pth'):
        load_checkpoint_file(str(tmp_path / 'bad.pth'))


def test_archives_of_other_programs_are_read(tmp_path):
    (tmp_path / 'good.pth').write_bytes(rezipped())
    ours = load_checkpoint_file(str(tmp_path / 'good.pth'))['state_dict']['w']
    assert torch.equal(ours, torch.load(io.BytesIO(WEIGHTS), weights_only=True)['state_dict']['w'])


def test_every_flipped_bit_of_the_tensors_is_noticed(tmp_path):
    start = WEIGHTS.index(torch.load(io.BytesIO(WEIGHTS))['state_dict']['w'].numpy().tobytes())
    for place in range(start, start + 2400, 97):
        content = bytearray(WEIGHTS)
        content[place] ^= 1 << place % 8
        (tmp_path / 'bad.pth').write_bytes(content)
        with pytest.raises(ValueError, match='bad.pth.*the checksum of its record archive/data/0'):
            load_checkpoint_file(str(tmp_path / 'bad.pth'))


def overstated(legacy: bool) -> bytes:
    """Return a checkpoint whose tensor of 600 numbers claims to have 32767."""
    small, large = b'MX\x02', b'M\xff\x7f'
    assert small in WEIGHTS
    if legacy:
        content = dict(state_dict=dict(w=torch.randn(20, 30)))
        return saved(content, _use_new_zipfile_serialization=False).replace(small, large)
    return rezipped(lambda members: [(n, c.replace(small, large)) for n, c in members])


@pytest.mark.parametrize('legacy', [False, True])
def test_tensors_with_more_numbers_than_the_file(tmp_path, legacy):
    """torch itself reads the memory behind the record, or allocates what the file names."""
    (tmp_path / 'bad.pth').write_bytes(overstated(legacy))
    with pytest.raises(ValueError, match='bad.pth'):
        load_checkpoint_file(str(tmp_path / 'bad.pth'))


def kinds() -> dict:
    """Return tensors of all kinds that a checkpoint may hold."""
    types = (torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.uint8, torch.bool)
    shared = torch.arange(24.0)
    return dict(
        {str(kind): torch.arange(5).to(kind) for kind in (*types, torch.complex64, torch.int16)},
        float8=torch.arange(5.0).to(torch.float8_e5m2),
        empty=torch.empty(0, 3),
        scalar=torch.tensor(2.5),
        first=shared[2:8].view(2, 3),
        second=shared.view(4, 6).T[1:],
        repeated=torch.ones(1).expand(5),
        parameter=torch.nn.Parameter(torch.ones(2)),
    )


@pytest.mark.parametrize('legacy', [False, True])
def test_tensors_are_those_of_torch(tmp_path, legacy):
    path = tmp_path / 'good.pth'
    content = kinds()
    if legacy:
        content.pop('float8')
    path.write_bytes(saved(content, _use_new_zipfile_serialization=not legacy))
    ours, theirs = load_checkpoint_file(str(path)), torch.load(path, weights_only=True)
    header = load_checkpoint_file(str(path), tensors=False)
    for name, tensor in theirs.items():
        assert ours[name].dtype == tensor.dtype == header[name].dtype
        assert ours[name].shape == header[name].shape and header[name].is_meta
        assert ours[name].stride() == tensor.stride()
        assert ours[name].tolist() == tensor.tolist()
    ours['first'].fill_(-1.0)
    assert (ours['second'] == -1).sum() == 6 - 1  # one number is not in the transposed part


def test_pipes_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / 'pipe.pth')
    with pytest.raises(OSError, match='a pipe or a device, not a regular file'):
        load_checkpoint_file(str(tmp_path / 'pipe.pth'))


class Site(http.server.BaseHTTPRequestHandler):
    """Serve WEIGHTS, other weights, and an incomplete download."""

    def do_GET(self) -> None:
        other = saved(dict(state_dict=dict(w=torch.zeros(1))))
        content = other if self.path.startswith('/b/') else WEIGHTS
        self.send_response(200)
        self.send_header('Content-Length', str(len(content)))
        self.end_headers()
        self.wfile.write(content[:1000] if self.server.cut else content)

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Return a server of checkpoints."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'hub'))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Site) as server:
        server.cut = False
        server.address = f'http://127.0.0.1:{server.server_address[1]}'
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_addresses_that_end_alike_are_kept_apart(site):
    sizes = [
        load_checkpoint_url(f'{site.address}/{folder}/x.pth')['state_dict']['w'].numel()
        for folder in 'abab'
    ]
    assert sizes == [600, 1, 600, 1]


def test_a_cut_download_is_not_kept(site, tmp_path):
    site.cut = True
    with pytest.raises(OSError, match='of which 1000 have arrived: try again'):
        load_checkpoint_url(f'{site.address}/a/x.pth')
    assert not any(path.is_file() for path in (tmp_path / 'hub').rglob('*'))
    site.cut = False
    assert load_checkpoint_url(f'{site.address}/a/x.pth')['state_dict']['w'].shape == (20, 30)


def test_the_checksum_of_an_address_is_verified(site, tmp_path):
    right = hashlib.sha256(WEIGHTS).hexdigest()
    for suffix in (f'x-{right[:8]}.pth', f'x.pth#sha256={right}'):
        load_checkpoint_url(f'{site.address}/a/{suffix}')
    for suffix in ('x-deadbeef.pth', f'y.pth#sha256={"0" * 64}'):
        with pytest.raises(ValueError, match=f'SHA-256 checksum is {right}.*the address says'):
            load_checkpoint_url(f'{site.address}/a/{suffix}')
    assert sum(path.is_file() for path in (tmp_path / 'hub').rglob('*')) == 2


def test_server_that_does_not_answer(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'hub'))
    monkeypatch.setattr(safe_reading, '_TIMEOUT', 0.2)
    with socket.create_server(('127.0.0.1', 0)) as silent:
        address = f'http://127.0.0.1:{silent.getsockname()[1]}/x.pth'
        with pytest.raises(OSError, match='x.pth (did not answer|cannot be downloaded)'):
            load_checkpoint_url(address)
    with pytest.raises(OSError, match='x.pth cannot be downloaded'):
        load_checkpoint_url(address)
    assert not any(path.is_file() for path in (tmp_path / 'hub').rglob('*'))
