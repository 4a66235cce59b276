"""Description of the CPU."""

from aimclr_mm.utils import processor

CPUINFO = (
    'processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC\nflags\t\t: fpu avx2\n\n'
    'processor\t: 1\n'
)


def test_cpu_as_linux_describes_it(tmp_path, monkeypatch):
    (tmp_path / 'cpuinfo').write_text(CPUINFO)
    monkeypatch.setattr(processor, 'CPUINFO', str(tmp_path / 'cpuinfo'))
    assert processor.processor_name() == 'AMD EPYC'


def test_cpu_where_no_file_describes_it(tmp_path, monkeypatch):
    name = 'AMD64 Family 25 Model 33 Stepping 2, AuthenticAMD'
    monkeypatch.setattr(processor, 'CPUINFO', str(tmp_path / 'absent'))
    monkeypatch.setattr(processor.platform, 'processor', lambda: name)
    assert processor.processor_name() == name
