"""`python -m pdm.local.relock`: writes `jars.lock` anew after a version below changed. For developers, with network."""

import hashlib
import sys
from pathlib import Path

import jgo

KAFKA, JETTY, DEBEZIUM = "4.3.1", "12.0.34", "3.7.0.Final"
WANTED = (
    f"org.apache.kafka:kafka_2.13:{KAFKA}",
    f"org.apache.kafka:connect-runtime:{KAFKA}",
    f"io.debezium:debezium-connector-postgres:{DEBEZIUM}",
    f"io.debezium:debezium-connect-plugins:{DEBEZIUM}",
    # Connect aligns the versions of these three in a way the resolver does not see: without them, NoSuchMethodError.
    f"org.eclipse.jetty.ee10:jetty-ee10-servlet:{JETTY}",
    f"org.eclipse.jetty:jetty-session:{JETTY}",
    f"org.eclipse.jetty:jetty-security:{JETTY}",
    "org.slf4j:slf4j-simple:1.7.36",
)


def main() -> None:
    artifacts = jgo.resolve("+".join(WANTED))
    lines = sorted(
        f"{jar.groupId}:{jar.artifactId}:{jar.version} {hashlib.sha256(Path(jar.resolve()).read_bytes()).hexdigest()}\n"
        for jar in artifacts
        if jar.packaging == "jar"
    )
    Path(__file__).with_name("jars.lock").write_text("".join(lines))
    sys.stdout.write(f"{len(lines)} jars\n")


if __name__ == "__main__":
    main()
