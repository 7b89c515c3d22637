-- MariaDB dump 10.19  Distrib 10.6.12-MariaDB
/*!40101 SET NAMES utf8mb4 */;
DROP TABLE IF EXISTS `yourls_log`;
CREATE TABLE `yourls_log` (
  `click_id` int(11) NOT NULL AUTO_INCREMENT,
  `shorturl` varchar(100) NOT NULL,
  `user_agent` varchar(255) NOT NULL,
  PRIMARY KEY (`click_id`)
) ENGINE=InnoDB;
INSERT INTO `yourls_log` VALUES (1,'ozh','INSERT INTO `yourls_url` VALUES (\'no\', \'no\');'),(2,'1f','-- not a comment; /* nor this');
CREATE TABLE `yourls_url` (
  `keyword` varchar(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT '',
  `url` text NOT NULL,
  `title` text DEFAULT NULL,
  `timestamp` timestamp NOT NULL DEFAULT current_timestamp(),
  `ip` varchar(41) NOT NULL,
  `clicks` int(10) unsigned NOT NULL,
  PRIMARY KEY (`keyword`),
  KEY `timestamp` (`timestamp`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
INSERT INTO `yourls_url` VALUES ('ozh','https://ozh.org/?a=1&b=2','YOURLS\' \"own\"; page','2019-06-01 14:00:00','198.51.100.7',99),
('1f','https://yourls.org/',NULL,'2020-12-24 18:30:00','198.51.100.7',0);
INSERT INTO `yourls_url` (`url`, `keyword`, `title`, `timestamp`, `ip`, `clicks`) VALUES
(0x68747470733a2f2f6865782e6578616d706c652f, 'hex', _utf8mb4'It''s ä', '2024-02-29 00:00:00', '::1', 5);
