"""Everything that is measured, as it is shown and as it is written to the JSON file. Times are in seconds."""

from dataclasses import dataclass, field

from benchmarks.figures import Summary


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it was measured.

    Args:
        memory: bytes.
        versions: of what the figures depend on.
        load: the machine's load average over one minute, before and after.
    """

    at: str
    cpu: str
    cores: int
    memory: int
    system: str
    versions: dict[str, str]
    load: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Step:
    """One step over all rounds.

    Args:
        whole: from its begin in the ledger to the begin of the next one.
        inside: the part of it that lies within its attempts: the transaction that begins it, then the adapter.
    """

    number: int
    name: str
    state: str
    whole: Summary
    inside: Summary


@dataclass(frozen=True, slots=True)
class Usage:
    """What the stack has used for one run, without what it uses when idle.

    Args:
        cpu: seconds, by part. commits, rollbacks, connections: by database.
        others: cores that other programs on the machine kept busy meanwhile.
    """

    cpu: dict[str, float]
    commits: dict[str, float]
    rollbacks: dict[str, float]
    connections: dict[str, float]
    others: float


@dataclass(frozen=True, slots=True)
class Provisioning:
    """Tenants of one tier, one after the other."""

    tier: str
    total: Summary
    phases: dict[str, Summary]
    steps: list[Step]
    usage: Usage
    statements: dict[str, float] | None = None
    """By database, counted in a round of its own; None on a stack that is not ours to reconfigure."""


@dataclass(frozen=True, slots=True)
class Failing:
    """Tenants whose step fails for good.

    Args: phases: each counted from the failure.
    """

    step: str
    phases: dict[str, Summary]


@dataclass(frozen=True, slots=True)
class Memory:
    """Proportional set sizes in bytes, by part.

    Args:
        peak: at the moment when the whole stack was largest. highest: each part's own largest.
        tenants: how many were provisioned at once. seconds: for how long.
    """

    idle: dict[str, float]
    peak: dict[str, float]
    highest: dict[str, float]
    samples: int
    tenants: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Idle:
    """A stack that nobody uses.

    Args:
        cpu: cores, by part. commits, connections: a second, by database. others: cores kept busy by other programs.
        memory: proportional set sizes in bytes, by part. statements: a second, by database.
    """

    seconds: float
    cpu: dict[str, float]
    commits: dict[str, float]
    connections: dict[str, float]
    others: float
    memory: dict[str, float] = field(default_factory=dict[str, float])
    statements: dict[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Alone:
    """The saga engine on a real ledger, with adapters that do nothing, without Dagster.

    Args: way: how it reaches the database.
    """

    way: str
    total: Summary
    steps: list[Step]
    statements: float | None = None
    """Of the 14 steps of one run; None on a stack that is not ours to reconfigure."""


@dataclass(frozen=True, slots=True)
class Burst:
    """Many workflows at once.

    Args:
        rate: workflows a second. cpu: seconds for one of them, by part, the client's included.
        peak: proportional set sizes in bytes when their sum was largest, by part, without the client.
    """

    count: int
    rate: Summary
    cpu: dict[str, float]
    peak: dict[str, float]


@dataclass(frozen=True, slots=True)
class Side:
    """One contender, over all rounds.

    Args:
        stored: where its state is.
        one: seconds from the client's call to its knowledge of the result, one after the other.
        by_round: the median of each round.
        others: cores that other programs kept busy meanwhile, in the worst round.
    """

    name: str
    stored: str
    one: Summary
    by_round: list[float]
    burst: Burst | None
    others: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """Many tenants whose workflows wait for an outside system.

    Args:
        parked: seconds until all of them waited. idle, meanwhile: seconds for a new tenant, before and then.
        memory_idle, memory: proportional set sizes by part, in bytes.
        processes_idle, processes: how many there were, without PostgreSQL's.
        cpu: cores that all of it keeps busy while they wait.
    """

    tenants: int
    parked: float
    idle: Summary
    meanwhile: Summary
    memory_idle: dict[str, float]
    memory: dict[str, float]
    processes_idle: int
    processes: int
    cpu: float


@dataclass(frozen=True, slots=True)
class Killed:
    """Workers that are killed in the middle of a step; seconds from the kill.

    Args: noticed: the launch is recorded as lost or replaced. continued: another worker begins the step again.
        known: the client knows of the end.
    """

    noticed: Summary
    continued: Summary
    known: Summary


@dataclass(frozen=True, slots=True)
class Overhead:
    """Real provisionings: what is not the outside systems' time. Seconds, each a median with its range.

    Args:
        calls: inside the adapters. waits: between an adapter's "it goes on" and the next look.
        confirmation: from the end of the webhook to the app plane's signal. ours: the rest.
        share: the rest, relative to the three.
    """

    tier: str
    total: Summary
    calls: Summary
    waits: Summary
    confirmation: Summary
    ours: Summary
    share: Summary


@dataclass(slots=True)
class Results:
    """The whole document; what was not measured is left out."""

    machine: Machine
    rounds: int
    own_stack: bool
    sides: list[Side] = field(default_factory=list[Side])
    defaults: list[Side] = field(default_factory=list[Side])
    waiting: Waiting | None = None
    killed: Killed | None = None
    overhead: list[Overhead] = field(default_factory=list[Overhead])
    idle: Idle | None = None
    provisioning: list[Provisioning] = field(default_factory=list[Provisioning])
    failing: Failing | None = None
    memory: Memory | None = None
    alone: list[Alone] = field(default_factory=list[Alone])
