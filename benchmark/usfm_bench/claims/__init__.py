"""Is a published row arithmetically possible? Derivations are in `bounds`, conventions in `readings`."""

from usfm_bench.claims.judge import Judgement, Verdict, check_claim, check_claims
from usfm_bench.claims.rows import Claim, load_claims
from usfm_bench.claims.text import claims_json, claims_text

__all__ = ["Claim", "Judgement", "Verdict", "check_claim", "check_claims", "claims_json", "claims_text", "load_claims"]
