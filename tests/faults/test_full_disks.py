"""A full disk is told in one line, and what was complete before stays as it was."""

import numpy as np
import pytest
from jobs import TRAINING, computed, grow_disk, run_job, small_disk, train

import gnnflow
from gnnflow.errors import DataError, resource_error
from gnnflow.files.reserved_file import new_mapped_array
from gnnflow.partition import open_partition
from gnnflow.replay.trace import TraceFacts, TraceRecorder, read_trace
from gnnflow.training.checkpoints.checkpoint_files import checkpoint_folders, read_files
from gnnflow.training.evaluation.inference import RowFile


def test_checkpoints_before_the_disk_was_full_are_good(parts, expected, tmp_path):
    with small_disk(tmp_path / "disk", "100k") as disk:
        words = [parts, *TRAINING, "--ranks", 2, "--out", tmp_path / "run", "--save-every", 4]
        words += ["--keep-last", 9, "--checkpoint-dir", disk / "checkpoints"]
        ended = run_job(["-m", "gnnflow.cli.train", *words])
        assert ended.returncode == 1
        (line,) = ended.stderr.splitlines()
        assert line.startswith("gnnflow-train: error on rank 0: cannot write the checkpoint "), line
        assert line.endswith("No space left on device; free some space or choose another folder")
        saved = checkpoint_folders(disk / "checkpoints")
        assert saved, "the disk must hold one checkpoint"
        for folder in saved:
            read_files(folder)
        grow_disk(disk, "16m")
        resumed = train(*words, "--resume", "auto")
        assert "going on after" in resumed.stdout
    assert computed(tmp_path / "run") == expected


def test_a_partition_that_was_there_stays(tmp_path):
    with small_disk(tmp_path / "disk", "1m") as disk:
        command = ["-c", "from gnnflow.cli.partition import main; main()"]
        command += ["--num-parts", 2, "--method", "random"]
        command += ["--out", disk / "parts"]
        small = run_job([*command, "--generate", "sbm:vertices=1000,edges=4000"])
        assert small.returncode == 0, small
        large = [*command, "--generate", "sbm:vertices=4000,edges=16000"]
        ended = run_job([*large, "--overwrite"])
        assert ended.returncode == 1
        (line,) = [line for line in ended.stderr.splitlines() if "error" in line]
        assert line.endswith(
            ".npy: No space left on device; free some space or choose another folder; "
            "nothing was written"
        ), line
        assert "Traceback" not in ended.stderr
        assert open_partition(disk / "parts", 1, verify=True).num_vertices
        assert [path.name for path in disk.iterdir()] == ["parts"]


def test_a_trace_that_was_there_stays(tmp_path):
    facts = TraceFacts(graph="g", rank=0, num_ranks=1)
    none = np.zeros(0, dtype=np.int64)

    def recorder(num_ids):
        made = TraceRecorder(facts, none, none)
        made.add(np.arange(num_ids), num_seeds=1)
        return made

    with small_disk(tmp_path / "disk", "64k") as disk:
        path = recorder(100).save(disk)
        with pytest.raises(DataError, match="cannot be written to .*No space left on device"):
            recorder(1_000_000).save(disk)
        assert read_trace(path).rows_asked == 100
        assert [path] == list(disk.iterdir())


def test_a_map_for_writing_has_its_room_first(tmp_path):
    with small_disk(tmp_path / "disk", "64k") as disk:
        with pytest.raises(OSError, match=r"No space left on device: .*large\.npy"):
            new_mapped_array(disk / "large.npy", np.float32, (1000, 1000))
        (disk / "large.npy").unlink()
        rows = new_mapped_array(disk / "small.npy", np.float32, (10, 10))
        rows[:] = 1
        del rows
        assert np.load(disk / "small.npy").sum() == 100


def test_rows_have_their_room_before_they_are_computed(tmp_path):
    with small_disk(tmp_path / "disk", "64k") as disk, gnnflow.init() as ctx:
        with pytest.raises(OSError, match=r"No space left on device: .*logits\.npy") as told:
            RowFile(disk / "logits.npy", np.float32, (1000, 100), 0, ctx)
        assert str(resource_error(told.value)).startswith(f"cannot write {disk / 'logits.npy'}: No")


def test_a_stored_first_hop_that_has_no_room_is_one_line(tmp_path):
    with small_disk(tmp_path / "disk", "1m") as disk:
        command = ["-c", "from gnnflow.cli.partition import main; main()", "--num-parts", 2]
        source = ["--generate", "sbm:vertices=1000,edges=4000", "--method", "random"]
        made = run_job([*command, *source, "--out", disk / "parts"])
        assert made.returncode == 0, made
        with (
            (disk / "rest").open("wb", buffering=0) as rest,
            pytest.raises(OSError, match="No space left"),
        ):
            while True:
                rest.write(bytes(4096))
        words = [disk / "parts", *TRAINING, "--ranks", 2, "--out", tmp_path / "run"]
        ended = run_job(["-m", "gnnflow.cli.train", *words, "--first-hop", "stored"])
        assert ended.returncode == 1
        for line in ended.stderr.splitlines():
            assert "cannot write the stored first hop" in line, line
            assert "No space left on device; it is kept beside the partition" in line, line
        assert 1 <= len(ended.stderr.splitlines()) <= 2
        assert not list(disk.glob("parts/*/first_hop*"))
        (disk / "rest").unlink()
        grow_disk(disk, "16m")
        train(*words, "--first-hop", "stored")
        assert len(list(disk.glob("parts/*/first_hop_mean.*"))) == 4
