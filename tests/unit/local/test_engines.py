from pdm.local.engines import current_versions, major_changes

NOW = {"postgresql": "18.4", "kafka": "4.3.1", "debezium": "3.7.0.Final"}


def test_a_new_folder_has_no_changes() -> None:
    assert major_changes({}, NOW) == []


def test_minor_versions_read_each_others_files() -> None:
    assert major_changes({**NOW, "postgresql": "18.1", "kafka": "4.1.0"}, NOW) == []


def test_another_major_version_is_named() -> None:
    assert major_changes({**NOW, "postgresql": "17.6"}, NOW) == ["postgresql 17.6 then, 18.4 now"]


def test_every_engine_that_keeps_data_is_stamped() -> None:
    assert set(current_versions()) == set(NOW)
