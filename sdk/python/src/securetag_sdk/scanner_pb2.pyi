import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Input(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INPUT_UNSPECIFIED: _ClassVar[Input]
    INPUT_TREE: _ClassVar[Input]
    INPUT_URL: _ClassVar[Input]

class Severity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEVERITY_UNSPECIFIED: _ClassVar[Severity]
    SEVERITY_INFO: _ClassVar[Severity]
    SEVERITY_LOW: _ClassVar[Severity]
    SEVERITY_MEDIUM: _ClassVar[Severity]
    SEVERITY_HIGH: _ClassVar[Severity]
    SEVERITY_CRITICAL: _ClassVar[Severity]
INPUT_UNSPECIFIED: Input
INPUT_TREE: Input
INPUT_URL: Input
SEVERITY_UNSPECIFIED: Severity
SEVERITY_INFO: Severity
SEVERITY_LOW: Severity
SEVERITY_MEDIUM: Severity
SEVERITY_HIGH: Severity
SEVERITY_CRITICAL: Severity

class DescribeRequest(_message.Message):
    __slots__ = ("host_version", "host_features")
    HOST_VERSION_FIELD_NUMBER: _ClassVar[int]
    HOST_FEATURES_FIELD_NUMBER: _ClassVar[int]
    host_version: str
    host_features: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, host_version: _Optional[str] = ..., host_features: _Optional[_Iterable[str]] = ...) -> None: ...

class DescribeResponse(_message.Message):
    __slots__ = ("name", "version", "description", "vendor", "license", "sdk", "api_versions", "features", "consumes", "config_schema", "options_schema", "rules", "requirements", "max_concurrent_scans")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    VENDOR_FIELD_NUMBER: _ClassVar[int]
    LICENSE_FIELD_NUMBER: _ClassVar[int]
    SDK_FIELD_NUMBER: _ClassVar[int]
    API_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    CONSUMES_FIELD_NUMBER: _ClassVar[int]
    CONFIG_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    REQUIREMENTS_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENT_SCANS_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    description: str
    vendor: str
    license: str
    sdk: str
    api_versions: _containers.RepeatedScalarFieldContainer[int]
    features: _containers.RepeatedScalarFieldContainer[str]
    consumes: _containers.RepeatedScalarFieldContainer[Input]
    config_schema: Block
    options_schema: Block
    rules: _containers.RepeatedCompositeFieldContainer[Rule]
    requirements: Requirements
    max_concurrent_scans: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., description: _Optional[str] = ..., vendor: _Optional[str] = ..., license: _Optional[str] = ..., sdk: _Optional[str] = ..., api_versions: _Optional[_Iterable[int]] = ..., features: _Optional[_Iterable[str]] = ..., consumes: _Optional[_Iterable[_Union[Input, str]]] = ..., config_schema: _Optional[_Union[Block, _Mapping]] = ..., options_schema: _Optional[_Union[Block, _Mapping]] = ..., rules: _Optional[_Iterable[_Union[Rule, _Mapping]]] = ..., requirements: _Optional[_Union[Requirements, _Mapping]] = ..., max_concurrent_scans: _Optional[int] = ...) -> None: ...

class Requirements(_message.Message):
    __slots__ = ("network", "spawns_processes", "memory_bytes")
    class Network(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        NETWORK_UNSPECIFIED: _ClassVar[Requirements.Network]
        NETWORK_NONE: _ClassVar[Requirements.Network]
        NETWORK_EGRESS: _ClassVar[Requirements.Network]
    NETWORK_UNSPECIFIED: Requirements.Network
    NETWORK_NONE: Requirements.Network
    NETWORK_EGRESS: Requirements.Network
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    SPAWNS_PROCESSES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    network: Requirements.Network
    spawns_processes: bool
    memory_bytes: int
    def __init__(self, network: _Optional[_Union[Requirements.Network, str]] = ..., spawns_processes: bool = ..., memory_bytes: _Optional[int] = ...) -> None: ...

class Block(_message.Message):
    __slots__ = ("attributes", "description")
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    attributes: _containers.RepeatedCompositeFieldContainer[Attribute]
    description: str
    def __init__(self, attributes: _Optional[_Iterable[_Union[Attribute, _Mapping]]] = ..., description: _Optional[str] = ...) -> None: ...

class Attribute(_message.Message):
    __slots__ = ("name", "type", "required", "default_json", "description", "sensitive", "one_of", "min", "max", "pattern", "deprecated")
    class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        TYPE_UNSPECIFIED: _ClassVar[Attribute.Type]
        TYPE_STRING: _ClassVar[Attribute.Type]
        TYPE_INT: _ClassVar[Attribute.Type]
        TYPE_FLOAT: _ClassVar[Attribute.Type]
        TYPE_BOOL: _ClassVar[Attribute.Type]
        TYPE_DURATION: _ClassVar[Attribute.Type]
        TYPE_BYTES: _ClassVar[Attribute.Type]
        TYPE_STRING_LIST: _ClassVar[Attribute.Type]
        TYPE_STRING_MAP: _ClassVar[Attribute.Type]
    TYPE_UNSPECIFIED: Attribute.Type
    TYPE_STRING: Attribute.Type
    TYPE_INT: Attribute.Type
    TYPE_FLOAT: Attribute.Type
    TYPE_BOOL: Attribute.Type
    TYPE_DURATION: Attribute.Type
    TYPE_BYTES: Attribute.Type
    TYPE_STRING_LIST: Attribute.Type
    TYPE_STRING_MAP: Attribute.Type
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_JSON_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    SENSITIVE_FIELD_NUMBER: _ClassVar[int]
    ONE_OF_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    DEPRECATED_FIELD_NUMBER: _ClassVar[int]
    name: str
    type: Attribute.Type
    required: bool
    default_json: str
    description: str
    sensitive: bool
    one_of: _containers.RepeatedScalarFieldContainer[str]
    min: float
    max: float
    pattern: str
    deprecated: str
    def __init__(self, name: _Optional[str] = ..., type: _Optional[_Union[Attribute.Type, str]] = ..., required: bool = ..., default_json: _Optional[str] = ..., description: _Optional[str] = ..., sensitive: bool = ..., one_of: _Optional[_Iterable[str]] = ..., min: _Optional[float] = ..., max: _Optional[float] = ..., pattern: _Optional[str] = ..., deprecated: _Optional[str] = ...) -> None: ...

class Rule(_message.Message):
    __slots__ = ("id", "title", "description", "recommendation", "severity", "help_uri", "cwe", "tags")
    ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDATION_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    HELP_URI_FIELD_NUMBER: _ClassVar[int]
    CWE_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    id: str
    title: str
    description: str
    recommendation: str
    severity: Severity
    help_uri: str
    cwe: _containers.RepeatedScalarFieldContainer[int]
    tags: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[str] = ..., title: _Optional[str] = ..., description: _Optional[str] = ..., recommendation: _Optional[str] = ..., severity: _Optional[_Union[Severity, str]] = ..., help_uri: _Optional[str] = ..., cwe: _Optional[_Iterable[int]] = ..., tags: _Optional[_Iterable[str]] = ...) -> None: ...

class ConfigureRequest(_message.Message):
    __slots__ = ("config_json", "validate_only")
    CONFIG_JSON_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    config_json: bytes
    validate_only: bool
    def __init__(self, config_json: _Optional[bytes] = ..., validate_only: bool = ...) -> None: ...

class ConfigureResponse(_message.Message):
    __slots__ = ("diagnostics",)
    DIAGNOSTICS_FIELD_NUMBER: _ClassVar[int]
    diagnostics: _containers.RepeatedCompositeFieldContainer[Diagnostic]
    def __init__(self, diagnostics: _Optional[_Iterable[_Union[Diagnostic, _Mapping]]] = ...) -> None: ...

class Diagnostic(_message.Message):
    __slots__ = ("severity", "summary", "detail", "attribute_path", "target_path")
    class Severity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        SEVERITY_UNSPECIFIED: _ClassVar[Diagnostic.Severity]
        SEVERITY_NOTE: _ClassVar[Diagnostic.Severity]
        SEVERITY_WARNING: _ClassVar[Diagnostic.Severity]
        SEVERITY_ERROR: _ClassVar[Diagnostic.Severity]
    SEVERITY_UNSPECIFIED: Diagnostic.Severity
    SEVERITY_NOTE: Diagnostic.Severity
    SEVERITY_WARNING: Diagnostic.Severity
    SEVERITY_ERROR: Diagnostic.Severity
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTE_PATH_FIELD_NUMBER: _ClassVar[int]
    TARGET_PATH_FIELD_NUMBER: _ClassVar[int]
    severity: Diagnostic.Severity
    summary: str
    detail: str
    attribute_path: _containers.RepeatedScalarFieldContainer[str]
    target_path: str
    def __init__(self, severity: _Optional[_Union[Diagnostic.Severity, str]] = ..., summary: _Optional[str] = ..., detail: _Optional[str] = ..., attribute_path: _Optional[_Iterable[str]] = ..., target_path: _Optional[str] = ...) -> None: ...

class ScanRequest(_message.Message):
    __slots__ = ("run_id", "attempt", "target", "options_json", "work_dir", "limits", "identity_key", "permitted_hosts")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_JSON_FIELD_NUMBER: _ClassVar[int]
    WORK_DIR_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_KEY_FIELD_NUMBER: _ClassVar[int]
    PERMITTED_HOSTS_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    attempt: int
    target: Target
    options_json: bytes
    work_dir: str
    limits: Limits
    identity_key: bytes
    permitted_hosts: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, run_id: _Optional[str] = ..., attempt: _Optional[int] = ..., target: _Optional[_Union[Target, _Mapping]] = ..., options_json: _Optional[bytes] = ..., work_dir: _Optional[str] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., identity_key: _Optional[bytes] = ..., permitted_hosts: _Optional[_Iterable[str]] = ...) -> None: ...

class Target(_message.Message):
    __slots__ = ("root", "url", "display_name")
    ROOT_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    root: str
    url: str
    display_name: str
    def __init__(self, root: _Optional[str] = ..., url: _Optional[str] = ..., display_name: _Optional[str] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("max_findings", "max_silence", "max_artifacts", "max_artifacts_bytes")
    MAX_FINDINGS_FIELD_NUMBER: _ClassVar[int]
    MAX_SILENCE_FIELD_NUMBER: _ClassVar[int]
    MAX_ARTIFACTS_FIELD_NUMBER: _ClassVar[int]
    MAX_ARTIFACTS_BYTES_FIELD_NUMBER: _ClassVar[int]
    max_findings: int
    max_silence: _duration_pb2.Duration
    max_artifacts: int
    max_artifacts_bytes: int
    def __init__(self, max_findings: _Optional[int] = ..., max_silence: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_artifacts: _Optional[int] = ..., max_artifacts_bytes: _Optional[int] = ...) -> None: ...

class ScanEvent(_message.Message):
    __slots__ = ("progress", "findings", "log", "diagnostic", "artifact", "completed")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    DIAGNOSTIC_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    progress: Progress
    findings: Findings
    log: Log
    diagnostic: Diagnostic
    artifact: Artifact
    completed: Completed
    def __init__(self, progress: _Optional[_Union[Progress, _Mapping]] = ..., findings: _Optional[_Union[Findings, _Mapping]] = ..., log: _Optional[_Union[Log, _Mapping]] = ..., diagnostic: _Optional[_Union[Diagnostic, _Mapping]] = ..., artifact: _Optional[_Union[Artifact, _Mapping]] = ..., completed: _Optional[_Union[Completed, _Mapping]] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("phase", "done", "total", "unit", "message")
    PHASE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    phase: str
    done: int
    total: int
    unit: str
    message: str
    def __init__(self, phase: _Optional[str] = ..., done: _Optional[int] = ..., total: _Optional[int] = ..., unit: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class Log(_message.Message):
    __slots__ = ("level", "message")
    class Level(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        LEVEL_UNSPECIFIED: _ClassVar[Log.Level]
        LEVEL_DEBUG: _ClassVar[Log.Level]
        LEVEL_INFO: _ClassVar[Log.Level]
        LEVEL_WARN: _ClassVar[Log.Level]
        LEVEL_ERROR: _ClassVar[Log.Level]
    LEVEL_UNSPECIFIED: Log.Level
    LEVEL_DEBUG: Log.Level
    LEVEL_INFO: Log.Level
    LEVEL_WARN: Log.Level
    LEVEL_ERROR: Log.Level
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    level: Log.Level
    message: str
    def __init__(self, level: _Optional[_Union[Log.Level, str]] = ..., message: _Optional[str] = ...) -> None: ...

class Findings(_message.Message):
    __slots__ = ("findings",)
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    findings: _containers.RepeatedCompositeFieldContainer[Finding]
    def __init__(self, findings: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ...) -> None: ...

class Finding(_message.Message):
    __slots__ = ("rule_id", "message", "severity", "confidence", "location", "snippet", "identity", "properties")
    class Confidence(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        CONFIDENCE_UNSPECIFIED: _ClassVar[Finding.Confidence]
        CONFIDENCE_LOW: _ClassVar[Finding.Confidence]
        CONFIDENCE_MEDIUM: _ClassVar[Finding.Confidence]
        CONFIDENCE_HIGH: _ClassVar[Finding.Confidence]
    CONFIDENCE_UNSPECIFIED: Finding.Confidence
    CONFIDENCE_LOW: Finding.Confidence
    CONFIDENCE_MEDIUM: Finding.Confidence
    CONFIDENCE_HIGH: Finding.Confidence
    class PropertiesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    RULE_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    SNIPPET_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    PROPERTIES_FIELD_NUMBER: _ClassVar[int]
    rule_id: str
    message: str
    severity: Severity
    confidence: Finding.Confidence
    location: Location
    snippet: str
    identity: _containers.RepeatedScalarFieldContainer[str]
    properties: _containers.ScalarMap[str, str]
    def __init__(self, rule_id: _Optional[str] = ..., message: _Optional[str] = ..., severity: _Optional[_Union[Severity, str]] = ..., confidence: _Optional[_Union[Finding.Confidence, str]] = ..., location: _Optional[_Union[Location, _Mapping]] = ..., snippet: _Optional[str] = ..., identity: _Optional[_Iterable[str]] = ..., properties: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Location(_message.Message):
    __slots__ = ("path", "start_line", "start_column", "end_line", "end_column", "url")
    PATH_FIELD_NUMBER: _ClassVar[int]
    START_LINE_FIELD_NUMBER: _ClassVar[int]
    START_COLUMN_FIELD_NUMBER: _ClassVar[int]
    END_LINE_FIELD_NUMBER: _ClassVar[int]
    END_COLUMN_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    path: str
    start_line: int
    start_column: int
    end_line: int
    end_column: int
    url: str
    def __init__(self, path: _Optional[str] = ..., start_line: _Optional[int] = ..., start_column: _Optional[int] = ..., end_line: _Optional[int] = ..., end_column: _Optional[int] = ..., url: _Optional[str] = ...) -> None: ...

class Artifact(_message.Message):
    __slots__ = ("name", "media_type", "path", "sha256")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    name: str
    media_type: str
    path: str
    sha256: str
    def __init__(self, name: _Optional[str] = ..., media_type: _Optional[str] = ..., path: _Optional[str] = ..., sha256: _Optional[str] = ...) -> None: ...

class Completed(_message.Message):
    __slots__ = ("status", "reason", "retryable", "findings", "files_scanned", "bytes_scanned")
    class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATUS_UNSPECIFIED: _ClassVar[Completed.Status]
        STATUS_SUCCEEDED: _ClassVar[Completed.Status]
        STATUS_PARTIAL: _ClassVar[Completed.Status]
        STATUS_FAILED: _ClassVar[Completed.Status]
        STATUS_CANCELLED: _ClassVar[Completed.Status]
        STATUS_NOT_APPLICABLE: _ClassVar[Completed.Status]
    STATUS_UNSPECIFIED: Completed.Status
    STATUS_SUCCEEDED: Completed.Status
    STATUS_PARTIAL: Completed.Status
    STATUS_FAILED: Completed.Status
    STATUS_CANCELLED: Completed.Status
    STATUS_NOT_APPLICABLE: Completed.Status
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RETRYABLE_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    FILES_SCANNED_FIELD_NUMBER: _ClassVar[int]
    BYTES_SCANNED_FIELD_NUMBER: _ClassVar[int]
    status: Completed.Status
    reason: str
    retryable: bool
    findings: int
    files_scanned: int
    bytes_scanned: int
    def __init__(self, status: _Optional[_Union[Completed.Status, str]] = ..., reason: _Optional[str] = ..., retryable: bool = ..., findings: _Optional[int] = ..., files_scanned: _Optional[int] = ..., bytes_scanned: _Optional[int] = ...) -> None: ...

class CancelRequest(_message.Message):
    __slots__ = ("run_id", "reason", "grace")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    GRACE_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    reason: str
    grace: _duration_pb2.Duration
    def __init__(self, run_id: _Optional[str] = ..., reason: _Optional[str] = ..., grace: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class CancelResponse(_message.Message):
    __slots__ = ("known",)
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    known: bool
    def __init__(self, known: bool = ...) -> None: ...

class HealthRequest(_message.Message):
    __slots__ = ("interval",)
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    interval: _duration_pb2.Duration
    def __init__(self, interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class HealthUpdate(_message.Message):
    __slots__ = ("state", "description", "active_scans", "data_updated_at")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[HealthUpdate.State]
        STATE_HEALTHY: _ClassVar[HealthUpdate.State]
        STATE_DEGRADED: _ClassVar[HealthUpdate.State]
        STATE_UNHEALTHY: _ClassVar[HealthUpdate.State]
    STATE_UNSPECIFIED: HealthUpdate.State
    STATE_HEALTHY: HealthUpdate.State
    STATE_DEGRADED: HealthUpdate.State
    STATE_UNHEALTHY: HealthUpdate.State
    STATE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_SCANS_FIELD_NUMBER: _ClassVar[int]
    DATA_UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    state: HealthUpdate.State
    description: str
    active_scans: int
    data_updated_at: _timestamp_pb2.Timestamp
    def __init__(self, state: _Optional[_Union[HealthUpdate.State, str]] = ..., description: _Optional[str] = ..., active_scans: _Optional[int] = ..., data_updated_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class DrainRequest(_message.Message):
    __slots__ = ("grace",)
    GRACE_FIELD_NUMBER: _ClassVar[int]
    grace: _duration_pb2.Duration
    def __init__(self, grace: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class DrainResponse(_message.Message):
    __slots__ = ("active_scans",)
    ACTIVE_SCANS_FIELD_NUMBER: _ClassVar[int]
    active_scans: int
    def __init__(self, active_scans: _Optional[int] = ...) -> None: ...
