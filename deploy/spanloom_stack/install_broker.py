"""`python -m spanloom_stack.install_broker`: fetch, check and warm up the embedded broker, showing how far it is."""

import sys

from rich.console import Console
from rich.progress import Progress, TaskID
from spanloom_schemas.settings import SettingsError, read

from spanloom_stack import jars, kafka
from spanloom_stack.settings import StackSettings


def main() -> None:
    """Install the broker into SPANLOOM_STACK_CACHE; exit 1 with one line when it cannot be had."""
    with Progress(console=Console(stderr=True), transient=True) as progress:
        tasks: dict[str, TaskID] = {}

        def show(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = progress.add_task(step, total=total)
            progress.update(tasks[step], completed=done)

        try:
            kafka.install(read(StackSettings).cache, show)
        except (jars.JarError, kafka.BrokerError, SettingsError) as error:
            sys.exit(f"spanloom: {error}")


if __name__ == "__main__":
    main()
