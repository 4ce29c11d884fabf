#!/usr/bin/env bash
# Kills and resumes runs of several methods at random moments, in the middle of saves too, and compares each with an
# undisturbed one: tests/kill-and-resume.sh [ROUNDS, 300 if left out] [SEED, to repeat a round that failed]
# Before it, hundreds of kills of a trainer so small that one of its runs takes a moment.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export BLOCKLLM_KILL_ROUNDS="${1:-300}"
if [ $# -gt 1 ]; then
  export BLOCKLLM_KILL_SEED="$2"
fi
exec cargo test --release -p blockllm-tests --features flex,wgpu --test system -- --nocapture --test-threads 1 kills
