"""Native DuckDB (the official wheel of the engine's version) as the reference.

native.py compare DATA RESULTS QUERIES   each q*.parquet in RESULTS against the query run natively, as values
native.py time DATA QUERIES              for each number of a query on standard input, its seconds at one thread. As in a job,
                                         the database is new and open, and what is timed is making the views that the
                                         query uses, and the query.
"""
import math, re, sys, time

import duckdb

TABLES = ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"]


def connect():
    con = duckdb.connect()
    con.execute("SET threads = 1")
    return con


def make_views(con, data, tables=TABLES):
    for table in tables:
        con.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet('{data}/{table}.parquet')")


def same(a, b):
    if isinstance(a, float) or isinstance(b, float):
        return math.isclose(float(a), float(b), rel_tol=1e-12, abs_tol=0) or a == b
    return a == b


def compare(data, results, queries):
    con, equal = connect(), 0
    make_views(con, data)
    assert duckdb.__version__ == "2.0.0", duckdb.__version__
    for n in range(1, 23):
        with open(f"{queries}/q{n:02}.sql") as f:
            want = con.execute(f.read()).fetchall()
        got = con.execute(f"SELECT * FROM read_parquet('{results}/q{n:02}.parquet')").fetchall()
        if len(want) != len(got):
            sys.exit(f"query {n}: {len(got)} rows, native has {len(want)}")
        for i, (w, g) in enumerate(zip(want, got)):
            if len(w) != len(g) or not all(map(same, w, g)):
                sys.exit(f"query {n}, row {i}: {g}, native has {w}")
        equal += 1
    print(f"{equal} queries equal native DuckDB {duckdb.__version__}")


def measure(data, queries):
    for line in sys.stdin:
        with open(f"{queries}/q{int(line):02}.sql") as f:
            sql = f.read()
        used = [t for t in TABLES if re.search(rf"\b{t}\b", sql)]
        with connect() as con:
            start = time.perf_counter()
            make_views(con, data, used)
            con.execute(sql).fetchall()
            print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "compare":
        compare(*sys.argv[2:5])
    else:
        measure(*sys.argv[2:4])
