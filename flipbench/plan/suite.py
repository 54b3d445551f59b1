"""A suite file: every choice that could be argued about, written down before the run."""

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from flipbench import yamlfile
from flipbench.data import elsewhere
from flipbench.errors import UserError, nearest, shorten
from flipbench.paper.names import TABLES
from flipbench.paper.others import published
from flipbench.plan import named_settings, registry
from flipbench.plan.entries import MOST, Compare, DataEntry, MethodEntry, Outputs, Tune, columns, rows
from flipbench.plan.schema import (
    STRICT,
    Line,
    Name,
    NameOrSettings,
    first_of,
    words_of,
)
from flipbench.plan.settings import flatten
from flipbench.protocol import Protocol, Validation

MOST_RUNS = 10_000
"""Of a suite's runs and trials together, so that planning takes seconds."""


class Suite(BaseModel):
    """The schema of ``suites/*.yaml``."""

    model_config = STRICT

    suite: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    """Name of the suite and of its reports; equals the file's name."""
    title: Line
    """One line for the table's caption."""
    paper: Name | None = None
    """Table of the paper whose values stand beside ours (``table2``)."""
    data: Annotated[list[DataEntry], BeforeValidator(columns), Field(min_length=1)]
    """Columns: names, or ``name: {order, settings}``."""
    protocol: Protocol = "held-out"
    """``held-out``: select on the ``validation`` part of the training rows, score the test once.
    ``as-released``: select on the test rows, as the authors' code does."""
    validation: Validation = "known-users"
    """Of ``held-out``. ``known-users``: the last third of the rows of a third of the users. ``last-ninth``: the last
    ninth of the training rows. ``given``: the data set's own part. Where the suite says nothing, a data set that gives
    one has it, and one without users ``last-ninth``."""
    refit: bool = False
    """Of ``held-out``: whether the model is fitted again, on all training rows, before it is scored."""
    seeds: Annotated[int, Field(ge=1, le=MOST)] = 1
    """Runs a cell, seeds 0 .. seeds-1."""
    settings: NameOrSettings = {}
    """Settings for every method of the suite that has them; or the name or path of a named set of settings
    (``clickprompt-code``) for the methods that it has."""
    methods: Annotated[list[MethodEntry], BeforeValidator(rows), Field(min_length=1)]
    """Rows: names, or ``name: {settings}``; ``{method: NAME}`` in the settings gives a row another name."""
    tune: Tune | None = None
    """Search settings before the seeds are run; absent: every method at its declared settings."""
    inspect: list[Name] = []
    """What is measured of each row's pretraining; nothing is finetuned or scored then. ``embeddings``: how its table
    of features fills its space (figures 2, 8). ``alignment``: whether it finds the same masked field in text and
    table (figure 9)."""
    compare: Compare = Compare()
    """How rows are compared."""
    unequal: dict[str, Line] = {}
    """Why rows differ in a setting that all should share (:data:`flipbench.report.fairness.SHARED`), by its name; the
    report prints it."""
    versions: dict[str, Annotated[int, Field(ge=1)]] = {}
    """Versions of methods and pretrainings that this suite's runs were made with, where the code has gone on since:
    they are read and reported, and no further ones can be made."""
    outputs: Outputs = Outputs()
    """Where results and reports go."""

    _file: Path | None = PrivateAttr(None)

    @property
    def file(self) -> Path | None:
        """The file that it was read from."""
        return self._file

    @property
    def place(self) -> str:
        """What an error line about the suite begins with: the file that it was read from."""
        return f"{self._file}: " if self._file else ""

    @property
    def own_settings(self) -> Mapping[str, Any]:
        """Those of ``settings`` that are not a named set's."""
        return {} if isinstance(self.settings, str) else self.settings

    def selection_on(self, data: DataEntry) -> tuple[Validation, bool]:
        """What a column's epochs are selected on, and whether the model is then fitted on all training rows."""
        validation = data.validation or self.validation
        if data.validation is None and "validation" not in self.model_fields_set:
            if data.dataset.gives_validation:
                validation = "given"
            elif not data.dataset.clustered:
                validation = "last-ninth"
        return validation, self.refit if data.refit is None else data.refit

    def settings_of(self, row: MethodEntry, data: DataEntry) -> dict[str, Any]:
        """What the suite sets of a row on a data set, by dotted names: what is said of less stands over what of more.

        From the suite's named set over its own settings and the data set's to the row's named set, its settings, and
        those on this data set. Of what is said of all rows, what the method has.
        """
        known = flatten(registry.get(row.method).settings)
        of_suite = named_settings.load(self.settings) if isinstance(self.settings, str) else None
        named = of_suite.of(row.method, data.name) if of_suite and row.method in of_suite.methods else {}
        shared = {**flatten(self.own_settings), **flatten(data.settings)}
        of_row = named_settings.load(row.named).of(row.method, data.name) if row.named else {}
        return {
            **flatten(named),
            **{name: value for name, value in shared.items() if name in known},
            **flatten(of_row),
            **flatten(row.settings),
            **flatten(data.rows.get(row.label, {})),
        }

    @property
    def runs(self) -> int:
        """Runs that end a cell: one a seed, and one for each thing to inspect where the suite inspects."""
        return self.seeds * max(1, len(self.inspect))

    def check_size(self) -> None:
        """Raises UserError where the suite asks for more runs than can be planned."""
        cells, trials = len(self.data) * len(self.methods), self.tune.budget if self.tune else 0
        if (runs := cells * (self.runs + trials)) > MOST_RUNS:
            each = f"{self.seeds} seeds{f' and {trials} points' if trials else ''}"
            raise UserError(f"seeds: {each} of {cells} cells are {runs:,} runs; at most {MOST_RUNS:,}")

    @model_validator(mode="after")
    def _names_exist(self) -> "Suite":
        self.check_size()
        if self.paper is not None and self.paper not in TABLES:
            raise UserError(f"paper: no result table '{self.paper}'{nearest(self.paper, TABLES)}")
        self._columns_exist()
        labels = [row.label for row in self.methods]
        for what, names in (("method", labels), ("data set", [entry.label for entry in self.data])):
            if twice := _repeated(names):
                raise UserError(f"{what} '{twice}' is listed twice")
        self._settings_exist()
        for name in self.versions:
            registry.version_of(name)
        for row in self.methods:
            if row.named:
                named_settings.load(row.named).of(row.method, self.data[0].name)
        if twice := _repeated(self.inspect):
            raise UserError(f"inspect: '{twice}' is listed twice")
        for name in self.inspect:
            registry.inspection(name)
        if self.inspect and self.tune:
            raise UserError("tune: nothing is finetuned where 'inspect' is given")
        if (reference := self.compare.reference) is not None and reference not in labels:
            raise UserError(f"compare.reference '{reference}' is no row{nearest(reference, labels)}")
        return self

    def _columns_exist(self) -> None:
        """Raises UserError where a data set is unknown, or lacks what the suite says of it."""
        labels = [row.label for row in self.methods]
        for entry in self.data:
            name = entry.dataset.name
            if entry.order not in (orders := entry.dataset.orders):
                raise UserError(f"data: '{name}' has no order '{entry.order}'; valid: {', '.join(orders)}")
            self._rows_exist(entry)
            if entry.published:
                published(entry.published, name, entry.order)
            if unknown := next((row for row in entry.rows if row not in labels), None):
                raise UserError(f"data: {name}: rows: no row '{unknown}'{nearest(unknown, labels)}")

    def _rows_exist(self, entry: DataEntry) -> None:
        """Raises UserError where a data set has no such validation part, or no users to take a share of."""
        name, (validation, _) = entry.dataset.name, self.selection_on(entry)
        if validation == "given" and not entry.dataset.gives_validation:
            raise UserError(
                f"data: '{name}' has no validation part of its own; valid: validation: known-users or last-ninth"
            )
        if entry.dataset.clustered:
            return
        if validation == "known-users":
            raise UserError(f"data: '{name}' has no column of users; valid: validation: last-ninth")
        if entry.users < 1:
            raise UserError(f"data: '{name}' has no column of users, of whom 'users: {entry.users:g}' is a share")

    def _settings_exist(self) -> None:
        """Raises UserError where a row sets what its method lacks, or the suite what all methods lack."""
        of_any: set[str] = set()
        for row in self.methods:
            known = flatten(registry.get(row.method).settings)
            of_any |= known.keys()
            on_data = (entry.rows.get(row.label, {}) for entry in self.data)
            for of_row in (row.settings, *on_data):
                if unknown := next((name for name in flatten(of_row) if name not in known), None):
                    raise UserError(f"{row.label}: unknown setting '{shorten(unknown)}'{nearest(unknown, known)}")
        if isinstance(self.settings, str):
            named_settings.load(self.settings)
        for settings in (self.own_settings, *(entry.settings for entry in self.data)):
            if unknown := next((name for name in flatten(settings) if name not in of_any), None):
                raise UserError(f"settings: no method has '{unknown}'{nearest(unknown, of_any)}")


def _repeated(names: Sequence[str]) -> str | None:
    """The first name that is there twice."""
    return next((name for name, times in Counter(names).items() if times > 1), None)


def load(name: str) -> Suite:
    """A suite by path, or by the name of one that comes with flipbench.

    Raises:
        UserError: no such suite, or a mistake in it; names the file, the key and the nearest valid one.
    """
    path = find(name)
    content = yamlfile.load(path)
    elsewhere.read_beside(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: a suite is a mapping of keys to values")
    try:
        suite = Suite.model_validate(content, context={"folder": path.parent})
    except ValidationError as error:
        raise UserError(f"{path}: {_first_problem(error, content)}") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if suite.suite != path.stem:
        raise UserError(f"{path}: suite: '{shorten(suite.suite)}' differs from the file's name '{path.stem}'")
    suite._file = path
    return suite


def find(name: str) -> Path:
    """The file of a suite named by path or by name."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or yamlfile.exists(path):
        return path
    shipped = {p.stem: p for p in available()}
    if name not in shipped:
        raise UserError(f"unknown suite '{shorten(name)}'{nearest(name, shipped)}")
    return shipped[name]


def available() -> list[Path]:
    """The suites that come with flipbench: of the working copy, else of the installed package."""
    for folder in (Path(__file__).parents[2] / "suites", Path(str(files("flipbench"))) / "suites"):
        if folder.is_dir():
            return sorted(folder.glob("*.yaml"))
    return []


def _first_problem(error: ValidationError, content: Mapping[str, Any]) -> str:
    problem, place = first_of(error)
    if problem["type"] == "extra_forbidden":
        owner: Any = Suite
        for part in place[:-1]:
            owner = _MODELS.get(part, owner)
        return f"unknown key '{'.'.join(place)}'{nearest(place[-1], owner.model_fields)}"
    if problem["type"] == "missing":
        return f"key '{'.'.join(place)}' is missing"
    if place[0] == "methods" and len(place) > 2:
        place = _in_row(place, content)
    return f"{'.'.join(place)}: {words_of(problem)}"


_MODELS = {"data": DataEntry, "methods": MethodEntry, "tune": Tune, "compare": Compare, "outputs": Outputs}


def _in_row(place: Sequence[str], content: Mapping[str, Any]) -> list[str]:
    """The place of a mistake in a row as the file has it: by the row's label, with its settings beside ``method``."""
    entry = rows(content["methods"])[int(place[1])]
    row = shorten(label) if isinstance(label := entry["label"], str) else place[1]
    first, *rest = place[2:]
    return ["methods", row, *{"settings": [], "named": ["settings"]}.get(first, [first]), *rest]
