import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "src"))

import rule


class Promises(unittest.TestCase):
    def test_requests_below_the_path_are_refused(self):
        own = rule.settings("{}")

        self.assertTrue(rule.refused(own, "/upload/a"))
        self.assertFalse(rule.refused(own, "/v1/models"))
        self.assertFalse(rule.refused(rule.settings('{"refuse": ""}'), "/upload/a"))

    def test_a_setting_that_is_not_known_is_named(self):
        with self.assertRaisesRegex(ValueError, "`labl`"):
            rule.settings('{"labl": "x"}')

    def test_a_value_that_is_no_text_is_named(self):
        with self.assertRaisesRegex(ValueError, "a text is expected for `label`"):
            rule.settings('{"label": 7}')


if __name__ == "__main__":
    unittest.main()
