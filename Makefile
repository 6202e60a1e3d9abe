# `make` says what there is. Needs Debian 12 and a Rust toolchain; `setup` installs the rest. `bench` measures the
# proxy beside nginx and HAProxy, `bench-noded` in front of the real node daemon beside that daemon alone,
# `bench-cluster` the commands of a real cluster with the proxy and without it.

CARGO ?= cargo
# Seconds for each fuzz target in `make fuzz`.
FUZZ_SECONDS ?= 20
SHELL_SCRIPTS = tests/lab/setup tests/lab/noded tests/lab/node tests/lab/cluster tests/lab/check-units \
	tests/stages tests/docs-on-node tests/e2e/run tests/e2e/moves tests/integration/guard.sh \
	.ci/run hooks/certs-distribute hooks/ssh-keys $(wildcard hooks/cluster-verify-post.d/*) $(wildcard benches/install) \
	$(addprefix package/,build deb dist docs install pack rustc) $(wildcard package/debian/p*) \
	$(addprefix tests/package/,archive machine reproducible run)

.DEFAULT_GOAL := help
.PHONY: help setup build deb deb-reproducible dist demo test test-deb e2e e2e-moves bench bench-noded bench-cluster fuzz lint ci

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## installs the Debian packages for building and testing (as root; quick when all is there)
	@tests/lab/setup

build: setup ## target/release/noded-proxy
	$(CARGO) build --release --locked

deb: setup ## target/debian/noded-proxy_VERSION_ARCH.deb, and its debug symbols; lintian must find nothing
	@tests/lab/setup --deb
	tests/package/texts
	CARGO=$(CARGO) package/deb
	lintian --fail-on error,warning target/debian/*.deb

deb-reproducible: setup ## the package of the last commit, built in two directories: same bytes? Two release builds
	@tests/lab/setup --deb
	CARGO=$(CARGO) tests/package/reproducible

dist: deb ## target/dist/noded-proxy-VERSION-ARCH.tar.gz for other distributions, with an install script
	package/dist
	tests/package/archive

demo: setup ## builds the proxy and shows it at work, with throwaway certificates and a stand-in for noded
	$(CARGO) run --release --locked -- demo

test: setup ## all tests stage by stage, those with the real node daemon too
	@NODED_PROXY_REQUIRE_LAB=1 CARGO=$(CARGO) tests/stages

test-deb: setup ## the package installed, upgraded, removed on Debian 12 and 13, as root; `make deb` before
	@tests/lab/setup --e2e
	tests/package/run

e2e: setup ## a real three-node cluster under systemd, as root; about a quarter of an hour
	@tests/lab/setup --e2e --deb
	tests/e2e/run $(E2E_FLAGS)

e2e-moves: setup ## disk transfers within and between two real clusters, as root; about ten minutes; not part of CI
	@tests/lab/setup --e2e --deb
	tests/e2e/moves $(E2E_FLAGS)

bench: setup ## the numbers of docs/measured.md
	benches/run

bench-noded: setup ## the proxy in front of the real node daemon, beside that daemon alone; as root
	benches/noded

bench-cluster: setup ## real commands on a real three-node cluster, with and without the proxy, in pairs; as root
	@tests/lab/setup --e2e --deb
	benches/cluster

fuzz: setup ## each fuzz target for FUZZ_SECONDS, led by coverage
	FUZZ_SECONDS=$(FUZZ_SECONDS) CARGO=$(CARGO) fuzz/run

lint: ## format, clippy, doc, links, licences and sources, shell scripts, units
	@tests/lab/setup --lint
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps
	$(CARGO) test --locked -p noded-proxy --test docs links::
	$(CARGO) deny --workspace --log-level error check bans licenses sources
	shellcheck -S warning -x -P SCRIPTDIR $(SHELL_SCRIPTS)
	tests/lab/check-units

ci: ## what CI runs
	bash .ci/run
