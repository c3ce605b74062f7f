"""Says whether a SQL text is one harmless SELECT, and why not.

Reads the text's syntax tree (DuckDB's own parser); never runs it. The first of two fences: the second is the instance
(no file system, locked settings) and a read-only transaction, which hold for whatever this one lets through. Called by
storage.sql before each query.

One SELECT is not read-only by itself: a CTE can delete, read_text reads files, checkpoint() and arrow_scan() reach into
the process. So table functions are allowed by name, and everything that is not a plain query node is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

import duckdb
import msgspec

from engine.errors import TapelineError

TEXT_BYTES_MAX = 65_536
PADDING_MAX = 10_000
"""Largest product of all lengths that repeat, lpad, range as a list and the like may ask for in one query: one call is
neither held by DuckDB's memory limit nor interrupted (repeat('x', 4000000000): 8 GB and 50 s, measured on 2.0.0). This
catches the slip; storage.instance.cap_process_memory catches what is built on purpose."""

TABLE_FUNCTIONS = frozenset(
    {
        *("range", "generate_series", "unnest", "repeat_row", "json_each", "json_tree", "summary"),
        *("histogram", "histogram_values", "icu_calendar_names", "pg_timezone_names"),
        *("duckdb_columns", "duckdb_constraints", "duckdb_databases", "duckdb_dependencies", "duckdb_functions"),
        *("duckdb_indexes", "duckdb_keywords", "duckdb_memory", "duckdb_schemas", "duckdb_sequences"),
        *("duckdb_settings", "duckdb_tables", "duckdb_temporary_files", "duckdb_types", "duckdb_views"),
        *("pragma_database_size", "pragma_platform", "pragma_show", "pragma_storage_info", "pragma_table_info"),
        "pragma_version",
    }
)
_FILE_FUNCTION = re.compile(
    r"^(read_|parquet_|sniff_|glob$|.*_scan|duckdb_log|duckdb_secrets|which_secret|json_execute)"
)
_SIDE_EFFECTS = frozenset({"write_log", "setval", "nextval", "setseed", "sleep_ms", "pg_sleep", "getenv"})
_PADDING = {"repeat": (1,), "lpad": (1,), "rpad": (1,), "list_resize": (1,), "array_resize": (1,)}
_LISTS = frozenset({"range", "generate_series"})
_FORMATTING = frozenset({"printf", "format"})
_WIDTH = re.compile(r"[0-9]+")
_WIDTH_AS_ARGUMENT = re.compile(r"%[^a-zA-Z%]*\*|\{[^{}]+\{")
_EXPLAIN = re.compile(r"\s*explain(\s+analyze\b)?\s*(\([^()]*\))?\s", re.IGNORECASE)
_LOOKS_LIKE_A_FILE = re.compile(r"[/\\*?]|^[a-z0-9]+:|\.[a-z0-9]+$", re.IGNORECASE)


class SqlRefusedError(TapelineError):
    """A SQL text was not run, or was stopped; the message says why in one line."""

    exit_code = 2


def check(connection: duckdb.DuckDBPyConnection, sql: str) -> bool:
    """Refuse everything but one SELECT (or FROM, VALUES, DESCRIBE, SHOW, SUMMARIZE, EXPLAIN of one).

    Args:
        connection: Used to parse only.
        sql: The text as the user gave it.

    Returns:
        Whether it is an EXPLAIN, which DuckDB cannot run as a relation (it would explain the explanation).

    Raises:
        SqlRefusedError: With the reason.
    """
    try:
        length = len(sql.encode())
    except UnicodeEncodeError as error:
        raise SqlRefusedError("refused: the text is not valid Unicode") from error
    if length > TEXT_BYTES_MAX:
        raise SqlRefusedError(f"refused: the text is longer than {TEXT_BYTES_MAX} bytes")
    statement = _only_statement(sql)
    is_plan = statement.type == duckdb.StatementType.EXPLAIN
    if is_plan:
        explained = _EXPLAIN.sub("", statement.query, count=1)
        statement = _only_statement(explained)
    if statement.type != duckdb.StatementType.SELECT:
        raise SqlRefusedError(f"refused: {statement.type.name} is not a SELECT; only reading is allowed here")
    _check_tree(_tree(connection, statement.query))
    return is_plan


def joined(message: str) -> str:
    """Put DuckDB's message on one line, without the drawing of where the error stands."""
    lines = (line.strip() for line in message.splitlines())
    return " ".join(line for line in lines if line.strip("^"))


def _only_statement(sql: str) -> duckdb.Statement:
    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error as error:
        raise SqlRefusedError(f"refused: {joined(str(error))}") from error
    if len(statements) != 1:
        found = "the text is empty" if not statements else f"one statement at a time, found {len(statements)}"
        raise SqlRefusedError(f"refused: {found}")
    return statements[0]


def _tree(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[str, Any]:
    ((text,),) = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()
    try:
        tree = cast("dict[str, Any]", msgspec.json.decode(text))
    except RecursionError as error:
        raise SqlRefusedError("refused: the text is nested too deeply") from error
    if tree.get("error", True):
        reason = str(tree.get("error_message", "it cannot be analyzed"))
        raise SqlRefusedError(f"refused: {joined(reason)}")
    return tree


def _nodes(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Walk every object of the tree, without recursion: depth is the user's."""
    pending: list[Any] = [tree]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            node = cast("dict[str, Any]", item)
            yield node
            if node.get("type") == "TABLE_FUNCTION":
                # Its own name is judged as a table function; FROM range(...) streams and has no length limit.
                node = {**node, "function": node["function"].get("arguments")}
            pending.extend(node.values())
        elif isinstance(item, list):
            pending.extend(cast("list[Any]", item))


def _check_tree(tree: dict[str, Any]) -> None:
    padding = 1
    for node in _nodes(tree):
        kind = str(node.get("type", ""))
        if kind.endswith("_QUERY_NODE"):
            verb = kind.removesuffix("_QUERY_NODE")
            raise SqlRefusedError(f"refused: the text writes ({verb} inside a CTE); only reading is allowed here")
        if kind == "TABLE_FUNCTION":
            _check_table_function(str(node["function"].get("function_name", "")).lower())
        elif kind == "BASE_TABLE":
            _check_table_name(node)
        elif kind == "FUNCTION" and node.get("class") == "FUNCTION":
            padding *= _check_function(node)
    if padding > PADDING_MAX:
        raise SqlRefusedError(f"refused: repeat, lpad and the like may make texts of {PADDING_MAX} characters at most")


def _check_table_function(name: str) -> None:
    if name in TABLE_FUNCTIONS:
        return
    what = "reads outside of it" if _FILE_FUNCTION.match(name) else "is not on the list of allowed table functions"
    raise SqlRefusedError(f"refused: {name}() {what}; only the tables of this database can be read")


def _check_table_name(node: dict[str, Any]) -> None:
    name = str(node.get("table_name", ""))
    if name.lower() == "duckdb_logs":
        raise SqlRefusedError("refused: duckdb_logs may hold the queries of others")
    if not node.get("schema_name") and _LOOKS_LIKE_A_FILE.search(name):
        raise SqlRefusedError(f"refused: '{name}' is a file; only the tables of this database can be read")


def _check_function(node: dict[str, Any]) -> int:
    """Refuse a function with side effects; give the length it asks for, 1 when it makes nothing long."""
    name = str(node.get("function_name", "")).lower()
    if name in _SIDE_EFFECTS:
        raise SqlRefusedError(f"refused: {name}() does more than read")
    arguments = cast("list[dict[str, Any]]", node.get("arguments") or [])
    if name in _FORMATTING:
        template = _literal(arguments, 0)
        if template is None or _WIDTH_AS_ARGUMENT.search(template):
            raise SqlRefusedError(f"refused: the template given to {name}() must be written out, with its widths")
        return _longest(_WIDTH.findall(template))
    lengths = range(len(arguments)) if name in _LISTS else _PADDING.get(name, ())
    texts = [_literal(arguments, at) for at in lengths]
    if not all(text is not None and _WIDTH.fullmatch(text) for text in texts):
        hint = "; FROM range(...) has no such limit" if name in _LISTS else ""
        raise SqlRefusedError(f"refused: the length given to {name}() must be a whole number written out{hint}")
    return _longest([text for text in texts if text])


def _longest(numbers: list[str]) -> int:
    """Give the largest of these numbers, at least 1; one with more digits than the limit counts as just above it."""
    digits = len(str(PADDING_MAX))
    return max((int(n) if len(n) <= digits else PADDING_MAX + 1 for n in numbers), default=1) or 1


def _literal(arguments: list[dict[str, Any]], at: int) -> str | None:
    if at >= len(arguments):
        return None
    expression = cast("dict[str, Any]", arguments[at].get("expression") or {})
    literal = cast("dict[str, Any]", expression.get("literal") or {})
    return str(literal["text"]) if "text" in literal else None
