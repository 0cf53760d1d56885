"""Languages by the codes of FLORES-200, which the tokenizers of NLLB know."""

import re

from evals.schema import ConfigError

# The subsets of Crossmodal-3600 and XTD:
# https://github.com/facebookresearch/flores/blob/main/flores200/README.md
# Filipino is Tagalog there, `jp` is XTD's word for Japanese, and of Quechua FLORES has Ayacucho's
# alone, not Cusco's (`quz`).
FLORES = dict(
    pair.split(":")
    for pair in (
        "ar:arb_Arab bn:ben_Beng cs:ces_Latn da:dan_Latn de:deu_Latn el:ell_Grek en:eng_Latn "
        "es:spa_Latn fa:pes_Arab fi:fin_Latn fil:tgl_Latn fr:fra_Latn he:heb_Hebr hi:hin_Deva "
        "hr:hrv_Latn hu:hun_Latn id:ind_Latn it:ita_Latn ja:jpn_Jpan jp:jpn_Jpan ko:kor_Hang "
        "mi:mri_Latn nl:nld_Latn no:nob_Latn pl:pol_Latn pt:por_Latn quz:quy_Latn ro:ron_Latn "
        "ru:rus_Cyrl sv:swe_Latn sw:swh_Latn te:tel_Telu th:tha_Thai tr:tur_Latn uk:ukr_Cyrl "
        "vi:vie_Latn zh:zho_Hans"
    ).split()
)


def flores(language: str | None) -> str:
    """The FLORES-200 code of a language, which is given by its code or as such a subset is named.

    ConfigError for any other.
    """
    if language and re.fullmatch(r"[a-z]{3}_[A-Z][a-z]{3}", language):
        return language
    if language not in FLORES:
        raise ConfigError(
            f"No FLORES code for the language {language!r}. "
            f"Give one of {', '.join(FLORES)}, or a code as eng_Latn."
        )
    return FLORES[language]
