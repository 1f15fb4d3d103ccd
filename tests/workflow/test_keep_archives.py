"""`keep_archives: false`: archives are on the disk only while their dataset is converted, one at a time."""

from __future__ import annotations

import zipfile
from pathlib import Path

import yaml
from tiny_project import TOY_DATASET, TOY_DATASET_ENTRY, make_project
from warm_server import WarmServer

WATCHED = TOY_DATASET.replace(
    '    """Bright left halves."""',
    """    from pathlib import Path
    seen = sorted(path.name for path in Path("results/archives").glob("*.zip"))
    with open("seen.txt", "a") as file:
        print(*archives, "of", *seen, file=file)
    import time; time.sleep(0.3)
""",
)


def test_archives_go_as_soon_as_a_dataset_is_converted(tmp_path: Path, warm: WarmServer) -> None:
    project = make_project(tmp_path / "project", warm)
    (project.root / "toy_dataset.py").write_text(WATCHED)
    mirror = tmp_path / "upstream"
    mirror.mkdir()
    for name in ("one", "two"):
        with zipfile.ZipFile(mirror / f"{name}.zip", "w") as file:
            file.writestr("a.txt", "content")
        archives = {f"{name}.zip": {"url": (mirror / f"{name}.zip").as_uri()}}
        entry = {**TOY_DATASET_ENTRY, "options": {}, "archives": archives}
        (project.root / f"config/datasets/{name}.yaml").write_text(yaml.safe_dump(entry))
    changes = {"datasets": ["one", "two"], "models": ["toy"], "controls": [], "keep_archives": False}
    project.config(**changes)
    targets = [f"results/data/{name}/dataset.json" for name in ("one", "two")]
    result = project.snakemake(*targets)
    assert result.returncode == 0, result.stderr
    assert sorted((project.root / "seen.txt").read_text().splitlines()) == [
        "one.zip of one.zip",
        "two.zip of two.zip",
    ]
    assert not [path for path in (project.root / "results/archives").iterdir() if path.is_file()]
    for name in ("one", "two"):
        (mirror / f"{name}.zip").unlink()
    assert "convert_dataset" not in project.jobs() and "fetch_archive" not in project.jobs()
