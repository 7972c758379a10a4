//! Names of TLS policies of AWS in, whether AWS had them when the list was made out.

/// When the list was made, a year and a month: AWS adds policies, so a name that is not on it may exist.
pub const TLS_POLICIES_AS_OF: &str = "2026-09";

/// What follows `ELBSecurityPolicy-`. Sources: ELBv2 user guide, "Security policies for your Application Load Balancer";
/// what DescribeSslPolicies lists beside these.
const NAMES: &[&str] = &[
    "2015-05",
    "2016-08",
    "FS-1-1-2019-08",
    "FS-1-2-2019-08",
    "FS-1-2-Res-2019-08",
    "FS-1-2-Res-2020-10",
    "FS-2018-06",
    "TLS-1-0-2015-04",
    "TLS-1-1-2017-01",
    "TLS-1-2-2017-01",
    "TLS-1-2-Ext-2018-06",
    "TLS13-1-0-2021-06",
    "TLS13-1-0-FIPS-2023-04",
    "TLS13-1-0-FIPS-PQ-2025-09",
    "TLS13-1-0-PQ-2025-09",
    "TLS13-1-1-2021-06",
    "TLS13-1-1-FIPS-2023-04",
    "TLS13-1-2-2021-06",
    "TLS13-1-2-Ext0-FIPS-2023-04",
    "TLS13-1-2-Ext0-FIPS-PQ-2025-09",
    "TLS13-1-2-Ext0-RFC9151-FIPS-2023-07",
    "TLS13-1-2-Ext1-2021-06",
    "TLS13-1-2-Ext1-FIPS-2023-04",
    "TLS13-1-2-Ext1-FIPS-PQ-2025-09",
    "TLS13-1-2-Ext1-PQ-2025-09",
    "TLS13-1-2-Ext2-2021-06",
    "TLS13-1-2-Ext2-FIPS-2023-04",
    "TLS13-1-2-Ext2-FIPS-PQ-2025-09",
    "TLS13-1-2-Ext2-PQ-2025-09",
    "TLS13-1-2-FIPS-2023-04",
    "TLS13-1-2-FIPS-PQ-2025-09",
    "TLS13-1-2-PQ-2025-09",
    "TLS13-1-2-RFC9151-FIPS-2023-07",
    "TLS13-1-2-RFC9151-INTEROP1-FIPS-2023-07",
    "TLS13-1-2-RFC9151-INTEROP2-FIPS-2023-07",
    "TLS13-1-2-RFC9151-INTEROP3-FIPS-2023-07",
    "TLS13-1-2-RFC9151-INTEROP4-FIPS-2023-07",
    "TLS13-1-2-Res-2021-06",
    "TLS13-1-2-Res-FIPS-2023-04",
    "TLS13-1-2-Res-FIPS-PQ-2025-09",
    "TLS13-1-2-Res-PQ-2025-09",
    "TLS13-1-3-2021-06",
    "TLS13-1-3-FIPS-2023-04",
    "TLS13-1-3-FIPS-PQ-2025-09",
    "TLS13-1-3-PQ-2025-09",
    "TLS13-1-3-RFC9151-FIPS-2023-07",
];

/// Whether AWS had a policy of this name then.
pub fn is_tls_policy(name: &str) -> bool {
    let rest = name.strip_prefix("ELBSecurityPolicy-");
    rest.is_some_and(|rest| NAMES.binary_search(&rest).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_once_and_are_found() {
        for pair in NAMES.windows(2) {
            assert!(pair[0] < pair[1], "{} stands before {}", pair[0], pair[1]);
        }
        for (name, want) in [
            ("ELBSecurityPolicy-2016-08", true),
            ("ELBSecurityPolicy-TLS13-1-3-RFC9151-FIPS-2023-07", true),
            ("ELBSecurityPolicy-TLS13-1-2-2021-99", false),
            ("ELBSecurityPolicy-TLS13-1-2-2021-0", false),
            ("TLS13-1-2-2021-06", false),
            ("elbsecuritypolicy-2016-08", false),
            ("", false),
        ] {
            assert_eq!(is_tls_policy(name), want, "{name}");
        }
    }
}
