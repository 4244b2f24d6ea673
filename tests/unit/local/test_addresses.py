import json
from pathlib import Path

import pytest

from pdm.config import Settings, load_settings
from pdm.errors import Misconfigured
from pdm.local.addresses import (
    child_environment,
    located,
    pinned_ports,
    refuse_foreign_addresses,
    running_document,
    usual_ports,
)
from pdm.local.folder import DataFolder
from pdm.local.passwords import NAMES

PORTS = {name: 20_000 + n for n, name in enumerate(sorted(usual_ports(Settings())))}
PASSWORDS = {name: f"secret-{name}" for name in NAMES}
DOCUMENT = running_document(Settings(), PORTS, PASSWORDS)


def test_a_child_process_loads_what_the_stack_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = DataFolder(tmp_path)
    folder.claim()
    folder.write_json("running.json", json.loads(json.dumps(DOCUMENT)))
    monkeypatch.setenv("PDM_DATA_DIR", str(tmp_path))
    loaded = load_settings()
    folder.release()
    assert loaded == located(Settings(data_dir=tmp_path), DOCUMENT)
    assert loaded.main_db.conninfo("ingestor") == (
        f"postgresql://pdm_ingestor:secret-main-ingestor@127.0.0.1:{PORTS['postgres-main']}/pdm_main"
    )
    assert loaded.ai_db.conninfo("cdc").endswith(f":secret-ai-cdc@127.0.0.1:{PORTS['postgres-ai']}/pdm_ai")
    assert loaded.redis.password is not None
    assert loaded.http.portal_port == PORTS["portal"]


def test_other_settings_stay_as_they_were() -> None:
    settings = Settings.model_validate({"kafka": {"raw_partitions": 12}})
    assert located(settings, DOCUMENT).kafka.raw_partitions == 12


def test_engines_named_by_the_environment_are_refused() -> None:
    with pytest.raises(Misconfigured, match=r"^PDM_AI_DB__URL, PDM_KAFKA__BOOTSTRAP_SERVERS is set"):
        refuse_foreign_addresses({"PDM_KAFKA__BOOTSTRAP_SERVERS": "b:9092", "pdm_ai_db__url": "x"}, DOCUMENT)


def test_settings_that_are_no_address_are_welcome() -> None:
    refuse_foreign_addresses({"PDM_KAFKA__RAW_PARTITIONS": "12", "PDM_HTTP__PORTAL_PORT": "9000"}, DOCUMENT)


def test_a_port_that_a_person_set_is_pinned() -> None:
    assert pinned_ports({"PDM_HTTP__PORTAL_PORT": "9000", "PDM_HTTP__HOST": "127.0.0.1"}) == ["portal"]


def test_no_proxy_stands_between_a_role_and_its_engines() -> None:
    made = child_environment({"NO_PROXY": "plant.example", "HTTP_PROXY": "http://proxy:3128"}, Path("/data"))
    assert made["NO_PROXY"] == "plant.example,127.0.0.1,localhost"
    assert made["no_proxy"] == "127.0.0.1,localhost"
    assert (made["HTTP_PROXY"], made["PDM_DATA_DIR"]) == ("http://proxy:3128", "/data")
